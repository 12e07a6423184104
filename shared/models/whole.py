"""A response that is one JSON object, although a stream was requested: some servers and proxies cannot stream."""

from collections.abc import Mapping
from typing import Final, Protocol

from shared.models.events import ModelEvent
from shared.models.stream import StreamReader

_JSON: Final = "application/json"


class Reader(Protocol):
    """Reads the bytes of one response: see `StreamReader`."""

    has_ended: bool
    is_over: bool

    def feed(self, data: bytes) -> list[ModelEvent]: ...

    def finish(self) -> list[ModelEvent]: ...


def reader_of(headers: Mapping[str, str], stream: StreamReader) -> Reader:
    """What reads a response with these headers, whose stream `stream` would read."""
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    return WholeReader(stream) if kind == _JSON else stream


class WholeReader:
    """Keeps the bytes of a response until its end. A stream that is only labelled as JSON is read as a stream."""

    def __init__(self, stream: StreamReader) -> None:
        self.has_ended = self.is_over = False
        self._stream = stream
        self._body: list[bytes] = []

    def feed(self, data: bytes) -> list[ModelEvent]:
        """No events: they come at the end."""
        self._body.append(data)
        return []

    def finish(self) -> list[ModelEvent]:
        """See `StreamReader`."""
        body = b"".join(self._body)
        is_object = body.lstrip().startswith(b"{")
        events = self._stream.feed_whole(body) if is_object else self._stream.feed(body)
        return [*events, *self._stream.finish()]
