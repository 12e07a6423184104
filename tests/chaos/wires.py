"""What is between processes: a balancer where Knative's ingress would be, and a cable to Postgres that can stall."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

#: An ingress waits for a pod to come up; so does this.
_PATIENCE = 10.0


@dataclass
class Balancer:
    """Sends each connection to the next process that takes it; `ports` are those there are right now."""

    ports: Callable[[], Sequence[int]]
    port: int = 0
    _turn: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_PATIENCE):
                there = await self._connect()
        except TimeoutError:
            writer.close()
            return
        await _join((reader, writer), there)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        while True:
            for port in self._rotated():
                with suppress(OSError):
                    return await asyncio.open_connection("127.0.0.1", port)
            await asyncio.sleep(0.02)

    def _rotated(self) -> list[int]:
        ports = list(self.ports())
        self._turn += 1
        at = self._turn % len(ports) if ports else 0
        return ports[at:] + ports[:at]


@dataclass
class Cable:
    """A connection to Postgres that passes nothing on while it is not `open`."""

    upstream: int
    port: int = 0
    open: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self.open.wait()
        there = await asyncio.open_connection("127.0.0.1", self.upstream)
        await _join((reader, writer), there, self.open)

    async def stall(self, seconds: float) -> None:
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
        # Whichever end goes takes the other with it: nobody is left waiting for a dead process.
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
async def serving(wire: Balancer | Cable) -> AsyncIterator[None]:
    """The wire, listening on a port of its own."""
    server = await asyncio.start_server(wire.serve, "127.0.0.1", 0)
    wire.port = server.sockets[0].getsockname()[1]
    try:
        yield
    finally:
        server.close()
