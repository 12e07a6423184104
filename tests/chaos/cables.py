"""A connection between the functions and Postgres that can pause."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from tests.fixtures.loopback import listening_on_loopback


@dataclass
class Cable:
    """A connection to Postgres that forwards nothing while it is not `open`."""

    upstream: int
    port: int = 0
    open: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self.open.wait()
        there = await asyncio.open_connection("127.0.0.1", self.upstream)
        await _join((reader, writer), there, self.open)

    async def pause(self, seconds: float) -> None:
        """Pass nothing on for so long."""
        self.open.clear()
        await asyncio.sleep(seconds)
        self.open.set()


_End = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _join(here: _End, there: _End, gate: asyncio.Event | None = None) -> None:
    copies = [
        asyncio.ensure_future(_copy(here[0], there[1], gate)),
        asyncio.ensure_future(_copy(there[0], here[1], gate)),
    ]
    try:
        # When one end closes, close the other: no process may wait for a dead one.
        await asyncio.wait(copies, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for copy in copies:
            copy.cancel()
        await asyncio.gather(*copies, return_exceptions=True)
        here[1].close()
        there[1].close()


async def _copy(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, gate: asyncio.Event | None
) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            if gate:
                await gate.wait()
            writer.write(data)
            await writer.drain()


@asynccontextmanager
async def serving(cable: Cable) -> AsyncIterator[None]:
    """The cable, listening on a port of its own."""
    async with listening_on_loopback(cable.serve) as cable.port:
        yield
