"""Clients: many streams over raw sockets, counting what arrives and when. It knows HTTP/1.1 as far as servers of ours
speak it, and nothing of what they say but the mark in each token."""

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
#: Whoever has not answered by then does not.
_PATIENCE_SECONDS: Final = 240.0


@dataclass(slots=True)
class Answer:
    """What one request gave: its status, the tokens it relayed, and milliseconds until the first and the end."""

    status: int = 0
    tokens: int = 0
    first_ms: float = 0.0
    total_ms: float = 0.0
    #: The body, where the answer says its length: pages and problems, not streams.
    body: bytes = b""
    #: When the model wrote a token and when we read it, in microseconds, for tokens that were looked at.
    seen_us: list[tuple[int, int]] = field(default_factory=list)

    @property
    def delays_ms(self) -> list[float]:
        """From the model's write to our read."""
        return [(read - written) / 1000 for written, read in self.seen_us]


class Connection(asyncio.Protocol):
    """One keep-alive connection."""

    def __init__(self, *, stamps: bool = False) -> None:
        self._stamps = stamps
        self.answer = Answer()
        self.done: asyncio.Future[Answer] | None = None
        #: Set once the first token is here, or no more will come.
        self.begun = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's is one in all but name.
        self._transport = cast(asyncio.Transport, transport)

    def ask(self, request: bytes) -> "asyncio.Future[Answer]":
        """Send a request; the answer, once it has ended."""
        self._head, self._tail, self._last, self._length = b"", b"", b"", 0
        self.answer = Answer()
        self.done = asyncio.get_running_loop().create_future()
        self.begun.clear()
        self._began = monotonic_ns()
        self._transport.write(request)
        return self.done

    def data_received(self, data: bytes) -> None:
        if self.done is None or self.done.done():
            return
        if not self.answer.status:
            self._head += data
            head, found, data = self._head.partition(b"\r\n\r\n")
            if not found:
                return
            self.answer.status = int(head[9:12])
            length = re.search(rb"content-length: (\d+)", head.lower())
            has_none = self.answer.status == HTTPStatus.NO_CONTENT
            self._length = int(length[1]) if length else 0 if has_none else -1
        self._take(data)

    def _take(self, data: bytes) -> None:
        seen = self._tail + data
        # A token may be split between two reads, as may the last chunk: it counts once all of it is here.
        cut = seen.rfind(MARK[:1], max(0, len(seen) - _TOKEN_LENGTH + 1))
        seen, self._tail = (seen, b"") if cut < 0 else (seen[:cut], seen[cut:])
        if MARK in seen:
            self._count(seen)
        self._last = (self._last + data)[-len(_LAST_CHUNK) :]
        if self._length >= 0:
            self.answer.body += data
            self._length -= len(data)
        if self._length == 0 or (self._length < 0 and self._last == _LAST_CHUNK):
            self._end()

    def _count(self, seen: bytes) -> None:
        now = monotonic_ns()
        if not self.answer.tokens:
            self.answer.first_ms = (now - self._began) / 1e6
            self.begun.set()
        self.answer.tokens += seen.count(MARK)
        if self._stamps:
            self.answer.seen_us += [(int(stamp), now // 1000) for stamp in _STAMP.findall(seen)]

    def connection_lost(self, _: Exception | None) -> None:
        self._end()

    def _end(self) -> None:
        if self.done and not self.done.done():
            self.answer.total_ms = (monotonic_ns() - self._began) / 1e6
            self.done.set_result(self.answer)
        self.begun.set()

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
    """Each request on a connection of its own, at the same time, begun within the given seconds."""

    async def one(nth: int, request: bytes) -> Answer:
        await asyncio.sleep(spread_seconds * nth / len(requests))
        connection = await connect(port, stamps=stamps)
        try:
            return await connection.ask(request)
        finally:
            connection.close()

    async with _patience():
        return await asyncio.gather(*(one(nth, request) for nth, request in enumerate(requests)))


async def in_turn(port: int, make: Callable[[int], bytes], count: int, lanes: int) -> list[Answer]:
    """So many requests over a few connections, each of which asks again when it has its answer."""
    numbers = iter(range(count))

    async def lane() -> list[Answer]:
        connection = await connect(port)
        answers = []
        for nth in numbers:
            if connection.is_closed:
                connection = await connect(port)
            answers.append(await connection.ask(make(nth)))
        connection.close()
        return answers

    async with _patience():
        lists = await asyncio.gather(*(lane() for _ in range(lanes)))
    return [answer for answers in lists for answer in answers]


async def opened(
    port: int, requests: Sequence[bytes], lanes: int, *, stamps: bool = False
) -> list[Connection]:
    """Streams that have begun: so many at a time are asked for, the next one when a first token is here.

    Raises:
        NotMeasured: one of them gave no token, or they did not all begin in time.
    """
    waiting = iter(requests)
    there: list[Connection] = []

    async def lane() -> None:
        for asked in waiting:
            connection = await connect(port, stamps=stamps)
            there.append(connection)
            connection.ask(asked)  # type: ignore[unused-awaitable]  # It ends when the stream does.
            await connection.begun.wait()
            if not connection.answer.tokens:
                raise NotMeasured(f"stream {len(there)} did not begin: {connection.answer}")

    async with _patience():
        await asyncio.gather(*(lane() for _ in range(lanes)))
    return there


@asynccontextmanager
async def _patience() -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            yield
    except TimeoutError:
        raise NotMeasured(f"no answer within {_PATIENCE_SECONDS:.0f} s") from None


def request(method: str, path: str, body: bytes, headers: dict[str, str]) -> bytes:
    """An HTTP/1.1 request."""
    lines = [f"{method} {path} HTTP/1.1", "host: 127.0.0.1", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which this share of them lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def middle(values: Sequence[float]) -> float:
    return median(values) if values else 0.0
