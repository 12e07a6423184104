"""A request on its way through activator and queue-proxy."""

import asyncio
from collections import Counter
from dataclasses import replace
from time import monotonic

import httpx
import pytest

from tests.platform.rules import Rules
from tests.platform.small import LATE, ready_pod, streaming, until
from tests.platform.stand_in import Platform

#: A pod is there before the first request, so that no cold start is measured.
RULES = replace(Rules(), window=60, tick=0.02, min_scale=1)


@pytest.mark.parametrize("burst_capacity", [-1, 0])
async def test_a_request_without_a_slot_waits_and_one_without_a_place_in_the_queue_is_refused(
    platform: Platform, client: httpx.AsyncClient, burst_capacity: int
) -> None:
    rules = replace(RULES, concurrency=2, queue=3, max_scale=1, burst_capacity=burst_capacity)
    pod = await ready_pod(platform, rules)
    at = monotonic()

    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(client.get(platform.url("small"), params={"wait": 0.3}))
            for _ in range(7)
        ]

    assert Counter(each.result().status_code for each in tasks) == {200: 5, 503: 2}
    # Two at a time.
    assert monotonic() - at >= 0.9
    assert len(platform.every_pod("small")) == 1
    assert pod.open == platform.open_requests("small") == 0


async def two_pods(platform: Platform, concurrency: int) -> str:
    url = await platform.deploy("small", replace(RULES, min_scale=2, concurrency=concurrency))
    await until(lambda: [pod.state for pod in platform.pods("small")] == ["ready"] * 2)
    return url


async def test_requests_are_spread_over_the_pods(
    platform: Platform, client: httpx.AsyncClient
) -> None:
    url = await two_pods(platform, concurrency=3)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(client.get(url, params={"wait": 0.3})) for _ in range(4)]

    pods = Counter(each.result().headers["x-pid"] for each in tasks)
    assert pods == {str(pod.pid): 2 for pod in platform.pods("small")}


async def test_a_pod_without_room_is_passed_over(
    platform: Platform, client: httpx.AsyncClient
) -> None:
    url = await two_pods(platform, concurrency=1)

    async with streaming(client, f"{url}/silent") as busy:
        answers = [await client.get(url) for _ in range(3)]

    pods = {answer.headers["x-pid"] for answer in answers}
    assert len(pods) == 1
    assert busy.response.headers["x-pid"] not in pods


async def test_a_response_that_does_not_start_in_time_is_a_504(
    platform: Platform, client: httpx.AsyncClient
) -> None:
    await ready_pod(platform, replace(RULES, response_start=1))
    at = monotonic()

    answer = await client.get(platform.url("small"), params={"wait": 30})

    assert (answer.status_code, answer.text) == (504, "activator request timeout")
    assert 1 <= monotonic() - at < 1 + LATE


@pytest.mark.parametrize(
    ("path", "rules"),
    [
        ("/silent", replace(RULES, idle=1)),
        ("/stream?chunks=500&every=0.05", replace(RULES, total=1)),
    ],
)
async def test_a_response_that_has_started_is_cut_and_not_ended(
    platform: Platform, client: httpx.AsyncClient, path: str, rules: Rules
) -> None:
    pod = await ready_pod(platform, rules)
    at = monotonic()

    async with streaming(client, platform.url("small") + path) as stream:
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            await stream.rest()

    assert 1 <= monotonic() - at < 1 + LATE
    await until(lambda: pod.open == 0)


async def test_bytes_keep_a_response_from_being_idle(
    platform: Platform, client: httpx.AsyncClient
) -> None:
    await ready_pod(platform, replace(RULES, idle=1))

    async with streaming(client, platform.url("small") + "/stream?chunks=30&every=0.05") as stream:
        assert len(await stream.rest()) == 30


async def test_a_crash_cuts_responses_that_have_started_and_other_requests_get_502(
    platform: Platform, client: httpx.AsyncClient
) -> None:
    pod = await ready_pod(platform, RULES)
    url = platform.url("small")

    async with asyncio.TaskGroup() as group:
        other = group.create_task(client.get(url, params={"wait": 20}))
        await until(lambda: pod.open == 1)
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            await client.get(f"{url}/die?every=0.2")

    assert other.result().status_code == 502
    await pod.gone()
    assert platform.crashes == ["small-1.log: 3"]


async def test_a_disconnect_cancels_the_clients_request(
    platform: Platform, client: httpx.AsyncClient
) -> None:
    pod = await ready_pod(platform, RULES)

    async with streaming(client, platform.url("small") + "/silent"):
        assert (platform.open_requests("small"), pod.open) == (1, 1)

    await until(lambda: platform.open_requests("small") == pod.open == 0)
    await until(lambda: "client gone" in pod.log.read_text())
    assert pod.state == "ready"


async def test_a_request_waits_for_a_pod_no_longer_than_for_a_response(
    platform: Platform, client: httpx.AsyncClient
) -> None:
    url = await platform.deploy(
        "small", replace(RULES, response_start=1, min_scale=0), {"READY_SECONDS": "60"}
    )

    assert (await client.get(url)).status_code == 504
    assert platform.open_requests("small") == 0


async def test_a_large_body_and_a_large_header_pass_both_ways(
    platform: Platform, client: httpx.AsyncClient
) -> None:
    url = await platform.deploy("small", RULES)

    answer = await client.post(
        f"{url}/echo", content=b"x" * 3_000_000, headers={"x-sent": "y" * 20_000}
    )

    assert answer.content == b"x" * 3_000_000
    assert answer.headers["x-received"] == "y" * 20_000
