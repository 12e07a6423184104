"""Revisions come and go under load, and no client notices."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import uuid4

import httpx

from tests.cluster.bundle import Bundle
from tests.cluster.people import Meet
from tests.cluster.revisions import deploy, do, serving
from tests.cluster.runs import RunBatch, assert_one_attempt, assert_whole, streaming
from tests.fixtures.functions import Person, says_user

_WORKERS = 4


async def test_a_canary_is_promoted_and_rolled_back_without_an_error(
    bundle: Bundle, meet: Meet
) -> None:
    before = await serving(bundle)
    bundle.set(KEEP_ALIVE_SECONDS="14")
    load = Load(await meet())
    async with load.going_on():
        await do(bundle, "deploy", str(bundle.overlay), "--canary", "50")
        shares = await serving(bundle)
        assert sorted(shares.values()) == ["50%", "50%"]
        assert shares.keys() > before.keys()
        # Both answer, on one schema.
        await load.more(40)
        await do(bundle, "promote")
        assert await serving(bundle) == {(shares.keys() - before.keys()).pop(): "100%"}
        await load.more(10)
        await do(bundle, "rollback")
        assert await serving(bundle) == before
        await load.more(10)
    assert set(load.ended) == {"RUN_FINISHED"}


async def test_a_bad_image_leaves_what_serves_and_deploy_says_why(
    bundle: Bundle, meet: Meet
) -> None:
    before = await serving(bundle)
    image = "registry.invalid/agent-functions:none"
    done = await asyncio.to_thread(bundle.knative, "deploy", str(bundle.overlay), "--image", image)
    assert done.returncode == 1
    assert "agent: failed: " in done.stderr
    assert await serving(bundle) == before
    frames = await (await meet()).run(says_user("hello", run="after"))
    assert frames[-1]["type"] == "RUN_FINISHED"
    # Not for the test: what comes after it finds all functions ready.
    await deploy(bundle)


async def test_a_rollout_cuts_no_open_stream(bundle: Bundle, meet: Meet) -> None:
    before = await serving(bundle)
    runs = RunBatch("rollout", count=10, seconds=120)
    async with streaming(await meet(), runs) as streams:
        bundle.set(KEEP_ALIVE_SECONDS="13")
        await deploy(bundle)
        assert (await serving(bundle)).keys().isdisjoint(before)
        assert not [each for each in streams if each.done()]
    assert_whole(streams, runs)
    await assert_one_attempt(bundle, runs)


@dataclass
class Load:
    """Short runs, one after the other, in several at once; `ended` is how each of them did."""

    person: Person
    ended: list[str] = field(default_factory=list)
    _ticks: asyncio.Queue[None] = field(default_factory=asyncio.Queue)
    _enough: asyncio.Event = field(default_factory=asyncio.Event)

    @asynccontextmanager
    async def going_on(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            for _ in range(_WORKERS):
                group.create_task(self._work())
            try:
                yield
            finally:
                self._enough.set()

    async def more(self, count: int) -> None:
        """Wait until so many more have ended."""
        while not self._ticks.empty():
            self._ticks.get_nowait()
        async with asyncio.timeout(180):
            for _ in range(count):
                await self._ticks.get()

    async def _work(self) -> None:
        while not self._enough.is_set():
            name = str(uuid4())
            try:
                frames = await self.person.run(says_user("count 3 50", run=name, thread=name))
                self.ended.append(frames[-1]["type"])
            except (AssertionError, httpx.TransportError) as error:
                self.ended.append(repr(error))
            self._ticks.put_nowait(None)
