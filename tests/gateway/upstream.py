"""Both ends of the gateway on real sockets: a function that records, and a caller that sends any bytes."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.fixtures.loopback import listening_on_loopback


@dataclass
class Received:
    """One request as it arrived at the socket."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes = b""

    def values(self, name: str) -> list[str]:
        """Every value of a header."""
        return [value for header, value in self.headers if header == name]


Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


async def ok(writer: asyncio.StreamWriter) -> None:
    """The shortest answer of a function."""
    writer.write(
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
    )


@dataclass
class Upstream:
    """A function that records its requests and answers as a test sets."""

    port: int = 0
    answer: Answer = ok
    received: list[Received] = field(default_factory=list)
    failed: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        try:
            while (request := await _request(reader)) is not None:
                self.received.append(request)
                await _read_body(reader, request)
                await self.answer(writer)
                await writer.drain()
        except (OSError, ValueError, asyncio.IncompleteReadError):
            # The other side disconnected in the middle of a request.
            self.failed.set()
        finally:
            writer.close()


@asynccontextmanager
async def upstream() -> AsyncIterator[Upstream]:
    """A function on a port of its own."""
    function = Upstream()
    async with listening_on_loopback(function.serve) as function.port:
        yield function


async def _request(reader: asyncio.StreamReader) -> Received | None:
    head = await reader.readuntil(b"\r\n\r\n") if not reader.at_eof() else b""
    if not head:
        return None
    line, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    method, target, _ = line.split(" ", 2)
    pairs = [one.split(":", 1) for one in lines]
    return Received(method, target, [(name.lower(), value.strip()) for name, value in pairs])


async def _read_body(reader: asyncio.StreamReader, request: Received) -> None:
    if request.values("transfer-encoding") == ["chunked"]:
        while size := int(await reader.readline(), 16):
            request.body += (await reader.readexactly(size + 2))[:-2]
        await reader.readline()
    elif length := request.values("content-length"):
        request.body = await reader.readexactly(int(length[0]))


class Caller:
    """A connection on which a test can send any bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def say(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.writer.write(data)
        await self.writer.drain()

    async def head(self) -> tuple[int, dict[str, str]]:
        """Status and headers of the next response."""
        text = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        line, *lines = text.strip().split("\r\n")
        pairs = (one.split(":", 1) for one in lines)
        return int(line.split(" ")[1]), {name.lower(): value.strip() for name, value in pairs}

    async def rest(self) -> bytes:
        """All bytes until the other side closes; a reset counts as a close."""
        try:
            return await self.reader.read()
        except ConnectionError:
            return b""


@asynccontextmanager
async def caller(port: int) -> AsyncIterator[Caller]:
    """A connection to the gateway, for a few seconds."""
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            yield Caller(reader, writer)
        finally:
            writer.close()
