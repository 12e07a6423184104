"""The answer to a request, in a response that is JSON or a stream of server-sent events."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import orjson

from shared.core import Json, LineReader, LineTooLong

#: A longer message is not read: it would be cut for the model anyway. A stream may have any number of messages.
_MAX_BYTES = 4 * 1024 * 1024
_TOO_LARGE = "The server's answer is too large."


class ServerFailed(Exception):
    """A server did not respond, or not as MCP says. The message is safe for logs and for models."""


async def answer_of(response: Any, id_: int, notify: Callable[[Json], None]) -> Json | None:
    """The JSON-RPC answer in a response, which is JSON or an event of a stream; None if there is none.

    `notify` gets the other messages of a stream.
    """
    if response.content_type == "text/event-stream":
        async for data in _events(response.content):
            if (message := _load(data)) is None:
                continue
            if message.get("id") == id_ and "method" not in message:
                return message
            notify(message)
        return None
    return _load(await _read(response.content))


async def _read(content: Any) -> bytes:
    body = bytearray()
    async for chunk in content.iter_any():
        body += chunk
        if len(body) > _MAX_BYTES:
            raise ServerFailed(_TOO_LARGE)
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
                    raise ServerFailed(_TOO_LARGE)
            elif not line:
                if data:
                    yield b"\n".join(data)
                data, size = [], 0


def _lines(reader: LineReader, chunk: bytes) -> list[bytes]:
    try:
        return [line.rstrip(b"\r") for line in reader.feed(chunk)]
    except LineTooLong:
        raise ServerFailed(_TOO_LARGE) from None


def _load(data: bytes) -> Json | None:
    try:
        loaded = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    return loaded if isinstance(loaded, dict) else None
