"""The events of one run as a process learns of them, for any number of followers."""

import asyncio
from collections.abc import AsyncIterator, Sequence

from shared.core import LogEvent

#: uvloop rounds to milliseconds.
_EARLY_SECONDS = 0.005


class Feed:
    """The events of one run as this process learns of them, from behind `base` on. Any number may follow."""

    def __init__(self, *, base: int) -> None:
        self.base = base
        self.events: list[LogEvent] = []
        self.is_closed = False
        self.has_gap = False
        self.followers = 0
        self._waiters: list[asyncio.Future[None]] = []

    @property
    def last_seq(self) -> int:
        return self.events[-1].seq if self.events else self.base

    @property
    def attempt(self) -> int:
        return self.events[-1].attempt if self.events else 0

    @property
    def has_ended(self) -> bool:
        return bool(self.events) and self.events[-1].ends_run

    def publish(self, events: Sequence[LogEvent]) -> None:
        """Add events, which go on from the last; an ending closes the feed."""
        self.events.extend(events)
        self.is_closed = self.is_closed or self.has_ended
        self.wake()

    def close(self) -> None:
        """No more will come from here."""
        self.is_closed = True
        self.wake()

    def wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def after(self, seq: int, keep_alive: float) -> AsyncIterator[list[LogEvent]]:
        """What comes behind `seq`, as it comes; an empty list each time nothing came for `keep_alive` seconds."""
        loop = asyncio.get_running_loop()
        said_at = loop.time()
        timer: asyncio.Handle | None = None
        wakes_at = 0.0
        try:
            while True:
                if news := self.events[seq - self.base :]:
                    seq = news[-1].seq
                    yield news
                    said_at = loop.time()
                elif self.is_closed:
                    return
                elif loop.time() - said_at >= keep_alive:
                    yield []
                    said_at = loop.time()
                else:
                    # A timer per silence, not per event: while events come it wakes us now and then, for nothing. It
                    # may wake us a moment too early, and is not to be the last one then.
                    if wakes_at <= loop.time() + _EARLY_SECONDS:
                        wakes_at = said_at + keep_alive
                        timer = loop.call_at(wakes_at, self.wake)
                    waiter = loop.create_future()
                    self._waiters.append(waiter)
                    await waiter
        finally:
            if timer:
                timer.cancel()
