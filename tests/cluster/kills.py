"""Pods that die without a warning while they hold runs: another attempt finishes the runs, and nothing is lost."""

import asyncio

import httpx

from shared.core.json import Json
from tests.cluster.bundle import ClusterBundle
from tests.cluster.people import NewPerson
from tests.cluster.waits import asleep, kill, until
from tests.fixtures.functions import Person, run_input

_COUNTED = " ".join(str(number) for number in range(1, 41))


async def a_client_returns_to_a_killed_run(bundle: ClusterBundle, new_person: NewPerson) -> None:
    """The pod is killed in the middle of an answer, and its client resumes from its last cursor."""
    person = await new_person()
    body = run_input("count 40 250", run="killed", thread="killed")
    async with person.stream("POST", "/runs", body) as frames:
        await frames.until("TEXT_MESSAGE_CONTENT")
        cursor = frames.ids[-1]
        await kill(bundle, "assistant")
    seen = await _come_back(person, "killed", cursor)
    assert [each["type"] for each in seen if each["type"].startswith("RUN_F")] == ["RUN_FINISHED"]
    assert not [each for each in seen if each["type"] == "RUN_ERROR"]
    assert await _answers(new_person, person, "killed") == [_COUNTED]


async def a_sweep_finishes_a_killed_run(bundle: ClusterBundle, new_person: NewPerson) -> None:
    """The pod is killed in the middle of an answer, and no client returns: a sweep finds the run."""
    person = await new_person()
    body = run_input("count 40 250", run="orphan", thread="orphan")
    async with person.stream("POST", "/runs", body) as frames:
        await frames.until("TEXT_MESSAGE_CONTENT")
        await kill(bundle, "assistant")
    expired = (
        "select 1 from agent.lease join agent.run on run.id = run_id where client_run_id = 'orphan'"
    )
    await until(60, "its lease ran out", bundle.sql, f"{expired} and lease.until < now()")
    sweep = "http://runner.agent-backend.svc.cluster.local/sweep"
    script = (
        f"from urllib.request import *; print(urlopen(Request({sweep!r}, method='POST')).read())"
    )
    assert "dispatched" in await asyncio.to_thread(bundle.inside, script)
    ended = "select 1 from agent.run where client_run_id = 'orphan' and status = 'completed'"
    await until(120, "the orphan is completed", bundle.sql, ended)
    assert await _answers(new_person, person, "orphan") == [_COUNTED]
    await asleep(bundle, "runner")


async def _come_back(person: Person, run: str, cursor: str) -> list[Json]:
    """The frames of a client that reconnects until its run has ended."""
    seen: list[Json] = []
    async with asyncio.timeout(180):
        while not seen or seen[-1]["type"] not in ("RUN_FINISHED", "RUN_ERROR"):
            cursor = await _read_on(person, run, cursor, seen)
            await asyncio.sleep(0.5)
    return seen


async def _read_on(person: Person, run: str, cursor: str, seen: list[Json]) -> str:
    """Add to `seen` what one connection brings. Returns the last cursor."""
    try:
        async with person.stream("GET", f"/runs/{run}/events?after={cursor}") as frames:
            # Any other status is Knative's, for a function whose pod has gone.
            while frames.response.status_code == 200 and (frame := await frames.next()) is not None:
                seen.append(frame)
                cursor = frames.ids[-1] if frames.ids else cursor
    except (httpx.TransportError, TimeoutError):
        pass
    return cursor


async def _answers(new_person: NewPerson, person: Person, thread: str) -> list[str]:
    """The assistant's messages in the thread, as its owner sees them."""
    reader = await new_person("threads")
    reader.sub, reader.session_id = person.sub, person.session_id
    items = (await reader.request("GET", f"/threads/{thread}/items")).json()["data"]
    messages = [each["data"] for each in items if each["kind"] == "message"]
    return [str(each["content"]) for each in messages if each["role"] == "assistant"]
