"""The answer to a request, in a response that is JSON or a stream of server-sent events."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import orjson

from shared.core import Json, LineReader, LineTooLong
from shared.mcp.faults import ServerFailed

#: A longer message is not read: it would be cut for the model anyway. A stream may have any number of messages.
_MAX_BYTES = 4 * 1024 * 1024


async def answer_of(response: Any, id_: int, take: Callable[[Json], None]) -> Json | None:
    """The JSON-RPC answer in a response, which is JSON or an event of a stream; None if there is none.

    `take` gets the other messages of a stream: notifications, and requests of the server.
    """
    if response.content_type == "text/event-stream":
        async for data in _events(response.content):
            if (message := _load(data)) is None:
                continue
            if message.get("id") == id_ and "method" not in message:
                return message
            take(message)
        return None
    return _load(await _read(response.content))


async def _read(content: Any) -> bytes:
    body = bytearray()
    async for chunk in content.iter_any():
        body += chunk
        if len(body) > _MAX_BYTES:
            raise _too_large()
    return bytes(body)


async def _events(content: Any) -> AsyncIterator[bytes]:
    """The data of server-sent events (WHATWG HTML §9.2)."""
    reader, data, size = LineReader(_MAX_BYTES), [], 0
    async for chunk in content.iter_any():
        for line in _lines(reader, chunk):
            if line.startswith(b"data:"):
                data.append(line[5:].removeprefix(b" "))
                size += len(line)
                if size > _MAX_BYTES:
                    raise _too_large()
            elif not line:
                if data:
                    yield b"\n".join(data)
                data, size = [], 0


def _lines(reader: LineReader, chunk: bytes) -> list[bytes]:
    try:
        return reader.feed(chunk)
    except LineTooLong:
        raise _too_large() from None


def _too_large() -> ServerFailed:
    return ServerFailed("The server's answer is too large.", "too_large")


def _load(data: bytes) -> Json | None:
    try:
        loaded = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    return loaded if isinstance(loaded, dict) else None
