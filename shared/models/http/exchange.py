"""One exchange over HTTP/1.1: a request, and the bytes of its response as they arrive.

A whole HTTP client takes 160 ms of CPU to import, and the first token after a cold start would wait for it. uvicorn has
already imported this parser (docs/decisions.md).
"""

import asyncio
import zlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, Protocol, cast

import httptools

#: A sender with more unread bytes than this has to wait.
_MOST_UNREAD: Final = 1 << 20
#: Bytes in a row that are no body: the head, or the trailers after chunks.
_MOST_HEADERS: Final = 1 << 18
#: What the bytes of one read may be decompressed to. Text takes a tenth of it.
_MOST_DECOMPRESSED: Final = 1 << 24
#: gzip or zlib, whichever the data is (zlib's manual, `inflateInit2`).
_ANY_ZLIB: Final = 32 + zlib.MAX_WBITS


class Response(Protocol):
    """A response whose head has arrived."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]:
        """By lower-case name."""
        ...

    async def read(self) -> bytes:
        """The bytes of the body that have arrived since the last read; waits for some. Empty: the body is complete.

        Raises:
            OSError: the connection broke off, or the server does not speak HTTP.
        """
        ...

    def close(self) -> None:
        """Read no more. The connection is reused if the body is complete."""
        ...


class ReceivedResponse:
    """A response as httptools reports it. One task reads it."""

    def __init__(self, transport: asyncio.Transport, close: Callable[[], None]) -> None:
        self._transport = transport
        self._parser: Any = httptools.HttpResponseParser(self)
        self._decode: Callable[[bytes], bytes] | None = None
        self._parts: list[bytes] = []
        self._unread = 0
        self._wakeup: asyncio.Future[None] | None = None
        self._failure: OSError | None = None
        self._has_length = False
        self._has_head = False
        self._without_body = 0
        self._is_complete = False
        self._keeps_alive = False
        self._is_followed = False
        self.status = 0
        self.headers: dict[str, str] = {}
        self.close = close

    async def wait_for_head(self) -> None:
        while not self._has_head:
            await self._wait()

    async def read(self) -> bytes:
        """See `Response`."""
        while not self._parts:
            if self._is_complete:
                return b""
            await self._wait()
        data = b"".join(self._parts)
        self._parts.clear()
        if self._unread > _MOST_UNREAD:
            self._transport.resume_reading()
        self._unread = 0
        return data

    @property
    def keeps_alive(self) -> bool:
        """Whether its connection can be used for another exchange.

        Not after an error: the server may have answered before it read the whole request, and the next one would wait
        behind the rest. A transport with TLS does not tell how much is unsent.
        """
        is_success = 200 <= self.status < 300
        return is_success and self._is_complete and self._keeps_alive and not self._is_followed

    async def _wait(self) -> None:
        if self._failure:
            raise self._failure
        self._wakeup = asyncio.get_running_loop().create_future()
        try:
            await self._wakeup
        finally:
            self._wakeup = None

    def feed(self, data: bytes) -> None:
        """Take bytes of the connection."""
        self._without_body += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade, zlib.error):
            self._failure = ConnectionError("the server does not speak HTTP")
        if self._without_body > _MOST_HEADERS and not self._is_complete:
            self._failure = ConnectionError("the headers of the response do not end")
        self._wake()

    def end(self, error: Exception | None) -> None:
        """Take the end of the connection. It completes a response that has no length (RFC 9112 §6.3)."""
        if self._has_head and not self._has_length and error is None:
            self._is_complete = True
        elif not self._is_complete:
            self._failure = self._failure or ConnectionError("the server broke off")
        self._wake()

    def _wake(self) -> None:
        if self._wakeup and not self._wakeup.done():
            self._wakeup.set_result(None)

    # httptools calls these.

    def on_message_begin(self) -> None:
        # A response without a request.
        self._is_followed = self._is_complete

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._is_followed:
            return
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        if self._is_followed:
            return
        self.status = self._parser.get_status_code()
        if self.status < 200:
            # Informational: the head of the response is still to come.
            self.headers.clear()
            return
        self._has_length = not self.headers.keys().isdisjoint(
            {"content-length", "transfer-encoding"}
        )
        if self.headers.get("content-encoding", "identity") != "identity":
            # The request refuses any encoding. Data that is not zlib's is reported as broken.
            self._decode = partial(_decompress, zlib.decompressobj(_ANY_ZLIB))
        self._has_head = True

    def on_body(self, body: bytes) -> None:
        if self._is_followed:
            return
        self._without_body = 0
        self._parts.append(self._decode(body) if self._decode else body)
        self._unread += len(self._parts[-1])
        if self._unread > _MOST_UNREAD:
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        self._is_complete = self._has_head
        if self._is_complete and not self._is_followed:
            # The parser knows it only here.
            self._keeps_alive = self._has_length and self._parser.should_keep_alive()


def _decompress(decoder: "zlib._Decompress", data: bytes) -> bytes:
    text = decoder.decompress(data, _MOST_DECOMPRESSED)
    if decoder.unconsumed_tail:
        raise zlib.error("too much data")
    return text


class Connection(asyncio.Protocol):
    """One connection, with one exchange at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._response: ReceivedResponse | None = None
        self.idle_since = 0.0

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def send(self, request: bytes, close: Callable[[], None]) -> ReceivedResponse:
        """Send a request. `close` is what its response is closed with."""
        if not self._transport:
            raise ConnectionError("the server closed the connection")
        self._response = ReceivedResponse(self._transport, close)
        self._transport.write(request)
        return self._response

    def release(self) -> bool:
        """End the exchange. Returns whether another one can follow."""
        response, self._response = self._response, None
        return self.is_open and response is not None and response.keeps_alive

    def close(self) -> None:
        if self._transport:
            self._transport.abort()

    # The event loop calls these.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transport has this interface without the base class.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._response:
            self._response.feed(data)
        else:
            # Without a request, this would be read as the next response.
            self.close()

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        if self._response:
            self._response.end(error)
