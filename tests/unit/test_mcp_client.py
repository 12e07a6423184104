"""What the client of MCP reads of a server's stream."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import aiohttp
import orjson
import pytest

from shared.core.json import Json
from shared.mcp.client import Client
from shared.mcp.faults import ServerFailed
from tests.fixtures.loopback import listening_on_loopback

_HEAD = b"HTTP/1.1 200 -\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
_RESULT = {"content": [{"type": "text", "text": "done"}]}
_MIB = 1024 * 1024


def progress(done: int) -> bytes:
    """A report, with a message of 1 MiB."""
    params = {"progressToken": "progress-1", "progress": done, "message": "x" * _MIB}
    message = {"jsonrpc": "2.0", "method": "notifications/progress", "params": params}
    return b"data: %b\n\n" % orjson.dumps(message)


@asynccontextmanager
async def client_of(pieces: Iterable[bytes]) -> AsyncIterator[Client]:
    """A client of a server that answers a request with this stream."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            await reader.readexactly(length)
            writer.write(_HEAD)
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
        except ConnectionError:
            # The client has stopped reading.
            pass
        finally:
            writer.close()

    async with listening_on_loopback(serve) as port, aiohttp.ClientSession() as session:
        yield Client(f"http://127.0.0.1:{port}/mcp", lambda: session)


def answer(result: Json = _RESULT) -> bytes:
    return b"data: %b\n\n" % orjson.dumps({"jsonrpc": "2.0", "id": 1, "result": result})


async def test_reports_of_any_size_in_all_do_not_end_a_call() -> None:
    reports: list[float] = []

    def report(done: float, total: float | None = None, message: str | None = None) -> None:
        del total, message
        reports.append(done)

    async with client_of([*map(progress, range(6)), answer()]) as client:
        assert await client.call_tool({"name": "long"}, {}, report) == _RESULT

    assert reports == [*range(6)]


@pytest.mark.parametrize(
    "pieces",
    [
        [b"data: ", *[b"x" * _MIB] * 5],
        [b"data: " + b"x" * _MIB + b"\n"] * 5,
    ],
    ids=["one line", "many lines"],
)
async def test_one_message_that_is_too_large_is_not_read(pieces: list[bytes]) -> None:
    async with client_of([*pieces, b"\n\n", answer()]) as client:
        with pytest.raises(ServerFailed, match="too large"):
            await client.call_tool({"name": "flood"}, {}, lambda *_: None)
