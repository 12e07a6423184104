"""Clients: many streams over raw sockets, counting what arrives and when. It knows HTTP/1.1 as far as servers of ours
speak it, and nothing of what they say but the mark in each token."""

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from statistics import median
from time import monotonic_ns
from typing import Final, cast

from bench.upstream import MARK

_STAMP = re.compile(rb"zq(\d{16})")
_LAST_CHUNK: Final = b"0\r\n\r\n"


@dataclass(slots=True)
class Answer:
    """What one request gave: its status, the tokens it relayed, and milliseconds until the first and the end."""

    status: int = 0
    tokens: int = 0
    first_ms: float = 0.0
    total_ms: float = 0.0
    #: From the model's write to our read, for tokens that were looked at.
    delays_ms: list[float] = field(default_factory=list)


class Connection(asyncio.Protocol):
    """One keep-alive connection."""

    def __init__(self, *, stamps: bool = False) -> None:
        self._stamps = stamps
        self._done: asyncio.Future[Answer] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's is one in all but name.
        self._transport = cast(asyncio.Transport, transport)

    def ask(self, request: bytes) -> "asyncio.Future[Answer]":
        """Send a request; the answer, once it has ended."""
        self._head, self._tail, self._last, self._length = b"", b"", b"", 0
        #: The body, where the answer says its length: pages, not streams.
        self.body = b""
        self._answer = Answer()
        self._done = asyncio.get_running_loop().create_future()
        self._began = monotonic_ns()
        self._transport.write(request)
        return self._done

    def data_received(self, data: bytes) -> None:
        if self._done is None or self._done.done():
            return
        if not self._answer.status:
            self._head += data
            head, found, data = self._head.partition(b"\r\n\r\n")
            if not found:
                return
            self._answer.status = int(head[9:12])
            length = re.search(rb"content-length: (\d+)", head.lower())
            has_none = self._answer.status == HTTPStatus.NO_CONTENT
            self._length = int(length[1]) if length else 0 if has_none else -1
        self._take(data)

    def _take(self, data: bytes) -> None:
        seen = self._tail + data
        if MARK in seen:
            self._count(seen)
        # The mark may be split between two reads; so may the last chunk.
        self._tail = seen[-1:] if seen.endswith(MARK[:1]) else b""
        self._last = (self._last + data)[-len(_LAST_CHUNK) :]
        if self._length >= 0:
            self.body += data
            self._length -= len(data)
        if self._length == 0 or (self._length < 0 and self._last == _LAST_CHUNK):
            self._end()

    def _count(self, seen: bytes) -> None:
        now = monotonic_ns()
        if not self._answer.tokens:
            self._answer.first_ms = (now - self._began) / 1e6
        self._answer.tokens += seen.count(MARK)
        if self._stamps:
            stamps = _STAMP.findall(seen)
            self._answer.delays_ms += [(now / 1000 - int(stamp)) / 1000 for stamp in stamps]

    def connection_lost(self, _: Exception | None) -> None:
        self._end()

    def _end(self) -> None:
        if self._done and not self._done.done():
            self._answer.total_ms = (monotonic_ns() - self._began) / 1e6
            self._done.set_result(self._answer)

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

    return await asyncio.gather(*(one(nth, request) for nth, request in enumerate(requests)))


async def in_turn(port: int, make: Callable[[int], bytes], count: int, lanes: int) -> list[Answer]:
    """So many requests over a few connections, each of which asks again when it has its answer."""
    numbers = iter(range(count))

    async def lane() -> list[Answer]:
        connection = await connect(port)
        answers = [await connection.ask(make(nth)) for nth in numbers]
        connection.close()
        return answers

    lists = await asyncio.gather(*(lane() for _ in range(lanes)))
    return [answer for answers in lists for answer in answers]


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
