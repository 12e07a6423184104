"""The load generator: many streams over raw sockets, with counts and times of the received tokens.

It parses as much HTTP/1.1 as the measured servers use, and of the bodies only the mark in each token.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from statistics import median
from time import monotonic_ns
from typing import Final, cast

from bench import NotMeasured
from bench.upstream import MARK

_STAMP = re.compile(rb"zq(\d{16})")
_TOKEN_LENGTH: Final = len(MARK) + 16
_LAST_CHUNK: Final = b"0\r\n\r\n"
#: A load that takes longer has no figure.
_TIMEOUT_SECONDS: Final = 240.0


@dataclass(slots=True)
class Answer:
    """One response: its status, its tokens, and the milliseconds until the first token and until the end."""

    status: int = 0
    tokens: int = 0
    first_ms: float = 0.0
    total_ms: float = 0.0
    #: The body, if the response has a content-length: of pages and problems, not of streams.
    body: bytes = b""
    #: The times of the model's write and of our read of each token, in microseconds, with `stamps`.
    stamps_us: list[tuple[int, int]] = field(default_factory=list)

    @property
    def delays_ms(self) -> list[float]:
        """The times from the model's write to our read."""
        return [(read - written) / 1000 for written, read in self.stamps_us]


class Connection(asyncio.Protocol):
    """One keep-alive connection."""

    def __init__(self, *, stamps: bool = False) -> None:
        self._stamps = stamps
        self.answer = Answer()
        self.done: asyncio.Future[Answer] | None = None
        #: Set when the first token has arrived, or the response has ended.
        self.has_started = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transport has this interface without the base class.
        self._transport = cast(asyncio.Transport, transport)

    def send(self, request: bytes) -> "asyncio.Future[Answer]":
        """Send a request; the response, when it has ended."""
        self._head, self._tail, self._last, self._length = b"", b"", b"", 0
        self.answer = Answer()
        self.done = asyncio.get_running_loop().create_future()
        self.has_started.clear()
        self._started_ns = monotonic_ns()
        self._transport.write(request)
        return self.done

    def data_received(self, data: bytes) -> None:
        if self.done is None or self.done.done():
            return
        if not self.answer.status:
            self._head += data
            head, separator, data = self._head.partition(b"\r\n\r\n")
            if not separator:
                return
            self.answer.status = int(head[9:12])
            length = re.search(rb"content-length: (\d+)", head.lower())
            has_none = self.answer.status == HTTPStatus.NO_CONTENT
            self._length = int(length[1]) if length else 0 if has_none else -1
        self._take(data)

    def _take(self, data: bytes) -> None:
        chunk = self._tail + data
        # A token or the last chunk may be split between two reads: it counts when it is complete.
        cut = chunk.rfind(MARK[:1], max(0, len(chunk) - _TOKEN_LENGTH + 1))
        chunk, self._tail = (chunk, b"") if cut < 0 else (chunk[:cut], chunk[cut:])
        if MARK in chunk:
            self._count(chunk)
        self._last = (self._last + data)[-len(_LAST_CHUNK) :]
        if self._length >= 0:
            self.answer.body += data
            self._length -= len(data)
        if self._length == 0 or (self._length < 0 and self._last == _LAST_CHUNK):
            self._end()

    def _count(self, chunk: bytes) -> None:
        now = monotonic_ns()
        if not self.answer.tokens:
            self.answer.first_ms = (now - self._started_ns) / 1e6
            self.has_started.set()
        self.answer.tokens += chunk.count(MARK)
        if self._stamps:
            self.answer.stamps_us += [(int(stamp), now // 1000) for stamp in _STAMP.findall(chunk)]

    def connection_lost(self, _: Exception | None) -> None:
        self._end()

    def _end(self) -> None:
        if self.done and not self.done.done():
            self.answer.total_ms = (monotonic_ns() - self._started_ns) / 1e6
            self.done.set_result(self.answer)
        self.has_started.set()

    @property
    def is_closed(self) -> bool:
        return self._transport.is_closing()

    def close(self) -> None:
        self._transport.close()


async def connect(port: int, *, stamps: bool = False) -> Connection:
    """A connection to loopback."""
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(
        lambda: Connection(stamps=stamps), "127.0.0.1", port
    )
    return connection


async def at_once(
    port: int, requests: Sequence[bytes], *, stamps: bool = False, spread_seconds: float = 0.0
) -> list[Answer]:
    """Send each request on its own connection, concurrently; the starts are spread over `spread_seconds`."""

    async def one(nth: int, request: bytes) -> Answer:
        await asyncio.sleep(spread_seconds * nth / len(requests))
        connection = await connect(port, stamps=stamps)
        try:
            return await connection.send(request)
        finally:
            connection.close()

    async with _timeout():
        return await asyncio.gather(*(one(nth, request) for nth, request in enumerate(requests)))


async def in_turn(port: int, make: Callable[[int], bytes], count: int, lanes: int) -> list[Answer]:
    """Send `count` requests over `lanes` connections, each of which sends the next after a response."""
    numbers = iter(range(count))

    async def lane() -> list[Answer]:
        connection = await connect(port)
        answers = []
        for nth in numbers:
            if connection.is_closed:
                connection = await connect(port)
            answers.append(await connection.send(make(nth)))
        connection.close()
        return answers

    async with _timeout():
        lists = await asyncio.gather(*(lane() for _ in range(lanes)))
    return [answer for answers in lists for answer in answers]


async def open_streams(
    port: int, requests: Sequence[bytes], lanes: int, *, stamps: bool = False
) -> list[Connection]:
    """Open streams, `lanes` at a time: the next one starts after the first token of another.

    Raises:
        NotMeasured: a stream had no token, or they did not all start in time.
    """
    waiting = iter(requests)
    connections: list[Connection] = []

    async def lane() -> None:
        for request in waiting:
            connection = await connect(port, stamps=stamps)
            connections.append(connection)
            connection.send(request)  # type: ignore[unused-awaitable]  # resolves with the stream's end
            await connection.has_started.wait()
            if not connection.answer.tokens:
                raise NotMeasured(f"stream {len(connections)} did not start: {connection.answer}")

    async with _timeout():
        await asyncio.gather(*(lane() for _ in range(lanes)))
    return connections


@asynccontextmanager
async def _timeout() -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            yield
    except TimeoutError:
        raise NotMeasured(f"no response within {_TIMEOUT_SECONDS:.0f} s") from None


def request(method: str, path: str, body: bytes, headers: dict[str, str]) -> bytes:
    """An HTTP/1.1 request."""
    lines = [f"{method} {path} HTTP/1.1", "host: 127.0.0.1", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which this share of the values lies."""
    ascending = sorted(values)
    return ascending[min(len(ascending) - 1, int(share * len(ascending)))] if ascending else 0.0


def middle(values: Sequence[float]) -> float:
    return median(values) if values else 0.0
