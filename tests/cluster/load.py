"""Load for a function while something else happens to it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import uuid4

import httpx

from tests.fixtures.functions import Person, run_input

_WORKERS = 4


@dataclass
class Load:
    """Four workers, each of which does short runs one after the other. `ended` has how each run ended: the type of its
    last frame, or the error."""

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
        """Wait until `count` more runs have ended."""
        while not self._ticks.empty():
            self._ticks.get_nowait()
        async with asyncio.timeout(180):
            for _ in range(count):
                await self._ticks.get()

    async def _work(self) -> None:
        while not self._enough.is_set():
            name = str(uuid4())
            try:
                frames = await self.person.run(run_input("count 3 50", run=name, thread=name))
                self.ended.append(frames[-1]["type"])
            except (AssertionError, httpx.TransportError) as error:
                self.ended.append(repr(error))
            self._ticks.put_nowait(None)
