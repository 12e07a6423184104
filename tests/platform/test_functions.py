"""The bundle's own functions on the stand-in, by the manifests that ship."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from time import monotonic

import httpx
import pytest

from shared.core.json import Json
from tests.doubles import ModelServer, chunk, says
from tests.fixtures.database import TestDatabase
from tests.fixtures.environment import variables
from tests.fixtures.functions import Person, run_input, settings_for
from tests.knative.rendering import FOLDER, render, services
from tests.platform.rules import Rules
from tests.platform.small import LATE, until
from tests.platform.stand_in import Platform

FACTOR = 1 / 60
#: For what is measured in ticks: one is 0.2 s.
_SLOW = 1 / 10


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[Platform]:
    async with asyncio.timeout(60), Platform(tmp_path) as platform:
        yield platform


@pytest.fixture(scope="module")
def shipped() -> dict[str, Json]:
    return services(render(FOLDER / "overlays" / "production"))


def environment(database: TestDatabase, model: ModelServer) -> dict[str, str]:
    """A function's variables, with a grace as it is in the manifests: below the platform's."""
    return variables(settings_for(database, model, stop_grace_seconds=9.0, log_level="INFO"))


async def test_every_function_goes_to_zero_when_its_manifest_says_so(
    database: TestDatabase, model: ModelServer, platform: Platform, shipped: dict[str, Json]
) -> None:
    rules = {name: Rules.of(service).scaled(_SLOW) for name, service in shipped.items()}
    settings = {**environment(database, model), "STOP_GRACE_SECONDS": "50"}
    urls = {name: await platform.deploy(name, rules[name], settings) for name in rules}
    ends = asyncio.Event()
    model.will([chunk({"content": "half "}), ends, *says("and half")])
    async with httpx.AsyncClient(timeout=20) as client:
        person = Person(client, urls["assistant"])
        await database.add_user(person.sub)
        # The client disconnects, and the run takes longer than all of the platform's periods.
        async with person.stream("POST", "/runs", run_input("hi")) as frames:
            await frames.until("TEXT_MESSAGE_CONTENT")
        for name in urls.keys() - {"assistant"}:
            assert (await client.get(urls[name] + "/health")).status_code == 200
    [agent] = platform.pods("assistant")
    await until(lambda: agent.terminated_at, seconds=40)
    await asyncio.sleep(1)
    ends.set()
    await platform.at_zero()
    ended_at = monotonic()

    for name, obeyed in rules.items():
        [pod] = platform.every_pod(name)
        last = platform.last_request_ended_at(name)
        assert last is not None
        assert pod.deleted_at is not None
        assert pod.gone_at is not None
        to_zero, drained = pod.deleted_at - last, pod.gone_at - pod.deleted_at
        assert obeyed.to_zero <= to_zero < obeyed.to_zero + 2 * obeyed.tick + LATE, name
        if name != "assistant":
            assert obeyed.quiet <= drained < obeyed.quiet + LATE, name
    assert agent.terminated_at is not None
    assert agent.gone_at is not None
    assert agent.terminated_at + 1 <= agent.gone_at <= ended_at, "not before its run has ended"
    async with database.owner() as owner:
        assert (
            await owner.fetchval("select (status, attempt)::text from agent.run") == "(completed,1)"
        )
    assert platform.crashes == []


async def test_a_stream_is_complete_after_its_pod_was_deleted_and_then_no_pod_is_left(
    database: TestDatabase, model: ModelServer, platform: Platform, shipped: dict[str, Json]
) -> None:
    rules = Rules.of(shipped["assistant"]).scaled(FACTOR)
    url = await platform.deploy("assistant", rules, environment(database, model))
    proceed = asyncio.Event()
    model.will([chunk({"content": "half "}), proceed, *says("and half")])

    async with httpx.AsyncClient(timeout=20) as client:
        person = Person(client, url)
        await database.add_user(person.sub)
        async with person.stream("POST", "/runs", run_input("hi")) as frames:
            await frames.until("TEXT_MESSAGE_CONTENT")
            [pod] = platform.pods("assistant")
            await platform.delete(pod)
            async with asyncio.timeout(10):
                while pod.terminated_at is None:  # noqa: ASYNC110  # the platform's clock
                    await asyncio.sleep(0.01)
            proceed.set()
            rest = await frames.rest()
    await platform.at_zero()

    assert rest[-1]["type"] == "RUN_FINISHED"
    assert pod.holds() == {("run-1", 1)}
    assert len(model.requests) == 1
    # While the request was open, a ReplicaSet had to replace the pod that was deleted.
    first, second = platform.every_pod("assistant")
    ended = platform.last_request_ended_at("assistant")
    assert first is pod
    assert ended is not None
    assert second.deleted_at is not None
    assert rules.to_zero <= second.deleted_at - ended < rules.to_zero + 2 * rules.tick + LATE
    assert platform.crashes == []
