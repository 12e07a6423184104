"""Runs of a chosen length, and checks of them once they have ended."""

import asyncio
import json
from asyncio import Event, Task, TaskGroup
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from shared.core.json import Json
from tests.cluster.bundle import ClusterBundle
from tests.cluster.waits import until
from tests.fixtures.functions import Person, run_input

_PAUSE_MS = 500


@dataclass(frozen=True)
class RunBatch:
    """Several runs of one length. Each has a thread of its own, and a message that no other run has."""

    name: str
    count: int
    seconds: float

    @property
    def keys(self) -> list[str]:
        return [f"{self.name}-{nth}" for nth in range(self.count)]

    @property
    def answer(self) -> str:
        return " ".join(str(number) for number in range(1, self._words + 1))

    def message(self, key: str) -> str:
        return f"count {self._words} {_PAUSE_MS} {key}"

    def body(self, key: str, **more: Any) -> Json:
        return run_input(self.message(key), run=key, thread=key, **more)

    @property
    def _words(self) -> int:
        return round(self.seconds * 1000 / _PAUSE_MS)


@asynccontextmanager
async def streaming(person: Person, runs: RunBatch) -> AsyncIterator[list[Task[list[Json]]]]:
    """Read all runs, each in one connection: from their first texts on in the block, and to their ends after it."""
    started = [Event() for _ in runs.keys]
    async with TaskGroup() as group:
        streams = [
            group.create_task(_read(person, runs.body(key), event))
            for key, event in zip(runs.keys, started, strict=True)
        ]
        for event in started:
            await event.wait()
        yield streams


async def _read(person: Person, body: Json, started: Event) -> list[Json]:
    frames = []
    async with person.stream("POST", "/runs", body) as stream:
        assert stream.response.status_code == 200, await stream.response.aread()
        while (frame := await stream.next()) is not None:
            frames.append(frame)
            if frame["type"] == "TEXT_MESSAGE_CONTENT":
                started.set()
    return frames


def assert_whole(streams: Sequence[Task[list[Json]]], runs: RunBatch) -> None:
    """Each stream had the end of its run, and all of its answer."""
    for each in streams:
        frames = each.result()
        deltas = [frame["delta"] for frame in frames if frame["type"] == "TEXT_MESSAGE_CONTENT"]
        assert frames[-1]["type"] == "RUN_FINISHED", frames[-1]
        assert "".join(deltas) == runs.answer, f"answer: {''.join(deltas)}"


async def start_and_leave(person: Person, runs: RunBatch) -> None:
    """Start all runs, and close each connection after its first text."""
    async with TaskGroup() as group:
        for key in runs.keys:
            group.create_task(_start_and_leave(person, runs.body(key)))


async def _start_and_leave(person: Person, body: Json) -> None:
    async with person.stream("POST", "/runs", body) as frames:
        assert frames.response.status_code == 200, await frames.response.aread()
        await frames.until("TEXT_MESSAGE_CONTENT")


async def holders(bundle: ClusterBundle, function: str, runs: RunBatch) -> list[str]:
    """The function's running pods that started some of these runs."""
    started = await asyncio.to_thread(bundle.started_runs, function)
    found = sorted(pod for pod, keys in started.items() if keys & {*runs.keys})
    assert found, f"no running pod started any of {runs.name}"
    return found


async def ended(bundle: ClusterBundle, runs: RunBatch, *, margin: float) -> None:
    """Wait until all runs have ended, for their length and no more than this margin."""
    open_ = f"select count(*) from agent.run where {_of(runs)} and ended_at is null"
    what = f"all {runs.name} ended"
    await until(runs.seconds + margin, what, lambda: bundle.sql(open_) == "0")


async def assert_one_attempt(bundle: ClusterBundle, runs: RunBatch) -> None:
    """Every run was completed by its first attempt, and the model got one request for it."""
    columns = "json_object_agg(client_run_id, json_build_array(status, attempt))"
    rows = f"select {columns} from agent.run where {_of(runs)}"
    found = json.loads(await asyncio.to_thread(bundle.sql, rows))
    assert found == {key: ["completed", 1] for key in runs.keys}, f"attempts: {found}"
    requests = await asyncio.to_thread(bundle.requests)
    counts = {key: requests.get(runs.message(key)) for key in runs.keys}
    assert counts == dict.fromkeys(runs.keys, 1), f"model requests: {counts}"


def _of(runs: RunBatch) -> str:
    return f"client_run_id in ({', '.join(repr(key) for key in runs.keys)})"
