"""The weather: of a service that is correct, slow, broken or unreachable, and of a mock with a key."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from functions.tools.weather import MockWeather
from functions.tools.weather import OpenMeteo as Client
from shared.agents.context import ToolError
from tests.doubles import ModelServer
from tests.fixtures.database import TestDatabase
from tests.fixtures.loopback import listening_on_loopback
from tests.fixtures.open_meteo import CURRENT, PLACES, OpenMeteo, open_meteo
from tests.fixtures.processes import Process, started
from tests.fixtures.tool_calls import call, post, result_text


@pytest.fixture
async def service() -> AsyncIterator[OpenMeteo]:
    async with open_meteo() as running:
        yield running


def client(service: OpenMeteo) -> Client:
    return Client(service.url, service.url)


async def test_the_weather_of_a_place_is_looked_up(service: OpenMeteo) -> None:
    report = await client(service).weather("Paris", "fahrenheit")

    assert report.model_dump() == {
        "location": "Paris, France",
        "temperature": 7.5,
        "unit": "fahrenheit",
        "sky": "light rain",
        "humidity_percent": 81,
        "wind_kmh": 12.4,
        "source": "open-meteo.com",
    }
    (_, search), (_, forecast) = service.requests
    assert search["name"] == ["Paris"]
    assert forecast["temperature_unit"] == ["fahrenheit"]
    assert (forecast["latitude"], forecast["longitude"]) == (["48.85"], ["2.35"])


@pytest.mark.parametrize("region", ["Texas", "us", "United States"])
async def test_a_region_distinguishes_places_of_one_name(service: OpenMeteo, region: str) -> None:
    report = await client(service).weather(f"Paris, {region}", "celsius")

    assert report.location == "Paris, United States"
    assert service.requests[0][1]["name"] == ["Paris"]


async def test_an_answer_in_pieces_is_read_completely(service: OpenMeteo) -> None:
    service.piece = 40

    assert (await client(service).weather("Paris", "celsius")).temperature == 7.5


@pytest.mark.parametrize("answer", [(500, b""), (503, b"busy"), (429, b""), (0, None)])
async def test_a_failed_request_is_repeated(
    service: OpenMeteo, answer: tuple[int, bytes | None]
) -> None:
    service.answers = [answer, answer]

    assert (await client(service).weather("Paris", "celsius")).location == "Paris, France"
    assert len(service.requests) == 4


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([(200, b"{}")], "There is no place named 'Paris'."),
        ([(200, b'{"results": []}')], "There is no place named 'Paris'."),
        ([(200, b"<html>")], "The weather service answered 200."),
        ([(404, b"{}")], "The weather service answered 404."),
        ([(302, b"")], "The weather service answered 302."),
        ([(200, b'{"results": [{}]}')], "unexpected response"),
        ([(200, b'{"results": 5}')], "unexpected response"),
        ([(200, b'{"results": "Paris"}')], "unexpected response"),
        ([(200, b"x" * 300_000)], "unexpected response"),
        ([(200, json.dumps(PLACES).encode()), (200, b'{"current": {}}')], "unexpected response"),
        ([(500, b"")] * 3, "cannot be reached from here"),
    ],
)
async def test_an_invalid_answer_of_the_service_is_an_error_of_one_sentence(
    service: OpenMeteo, answers: list[tuple[int, bytes | None]], expected: str
) -> None:
    service.answers = answers

    with pytest.raises(ToolError, match=expected):
        await client(service).weather("Paris", "celsius")


async def test_an_unknown_weather_code_is_reported_as_unknown(service: OpenMeteo) -> None:
    current = {"current": {**CURRENT["current"], "weather_code": 1000}}
    service.answers = [(200, json.dumps(each).encode()) for each in (PLACES, current)]

    assert (await client(service).weather("Paris", "celsius")).sky == "unknown"


async def test_a_silent_service_fails_after_three_requests() -> None:
    requests = 0

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal requests
        requests += 1
        await reader.read()
        writer.close()

    async with listening_on_loopback(silent) as port:
        url = f"http://127.0.0.1:{port}"
        with pytest.raises(ToolError, match="cannot be reached"):
            await Client(url, url, seconds=0.05).weather("Paris", "celsius")
    assert requests == 3


async def test_the_same_weather_is_requested_once_in_ten_minutes(
    service: OpenMeteo, database: TestDatabase, model: ModelServer
) -> None:
    url = service.url
    async with started(
        "tools", database, model, open_meteo_url=url, open_meteo_geocoding_url=url
    ) as process:
        someone, other = await process.new_person(), await process.new_person()
        first = await call(someone, "get_weather", location="Paris")
        second = await call(other, "get_weather", location="  PARIS ")
        assert first == second
        assert len(service.requests) == 2

        async with database.owner() as owner:
            await owner.execute("update agent.weather_cache set answer = '{\"a\": 1}'")
        again = await call(someone, "get_weather", location="Paris")
        assert again == first, "an unreadable row is fetched again"
        async with database.owner() as owner:
            await owner.execute(
                "update agent.weather_cache set fetched_at = now() - interval '1 h'"
            )
        await call(someone, "get_weather", location="Paris")
    assert len(service.requests) == 6


async def test_without_a_network_the_tool_reports_that_the_service_is_unreachable(
    database: TestDatabase, model: ModelServer
) -> None:
    url = "http://127.0.0.1:9"
    async with started(
        "tools", database, model, open_meteo_url=url, open_meteo_geocoding_url=url
    ) as process:
        result = await call(await process.new_person(), "get_weather", location="Paris")

    assert result["isError"]
    assert (
        result_text(result) == "The weather service cannot be reached from here. Try again later."
    )


def test_the_mock_answers_callers_with_its_key() -> None:
    mock = MockWeather(accepts="key")

    report = mock.weather(" Oslo ", "celsius", key="key")
    assert (report.source, report.location) == ("mock", "Oslo")
    assert mock.weather("oslo", "celsius", key="key").temperature == report.temperature
    for wrong in ("", "KEY", "key "):
        with pytest.raises(ToolError, match="refused its key"):
            mock.weather("Oslo", "celsius", key=wrong)


def mapped(process: Process) -> str:
    """The files that a process has mapped: compiled modules among them."""
    return Path(f"/proc/{process.process.pid}/maps").read_text()


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="no /proc on this system")
async def test_the_http_client_is_loaded_only_by_the_first_weather_call(
    database: TestDatabase, model: ModelServer
) -> None:
    url = "http://127.0.0.1:9"
    async with started(
        "tools", database, model, open_meteo_url=url, open_meteo_geocoding_url=url
    ) as process:
        someone = await process.new_person()
        assert (await post(someone, "tools/list")).status_code == 200
        assert not re.search(r"/(aiohttp|jiter|rpds)/", mapped(process))
        await call(someone, "get_weather", location="Berlin")
        assert "/aiohttp/" in mapped(process)
