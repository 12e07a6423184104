"""The events of one run in the memory of a process that holds or follows it."""

import asyncio
from collections.abc import AsyncIterator, Sequence

from shared.core import LogEvent

#: How much too early a timer may fire: uvloop rounds to milliseconds.
_EARLY_SECONDS = 0.005


class Feed:
    """The events of one run after position `base`, as this process learns of them. Any number of readers follow it."""

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
        """Add the events that follow the last one; an ending closes the feed."""
        self.events.extend(events)
        self.is_closed = self.is_closed or self.has_ended
        self.wake()

    def close(self) -> None:
        """End the feed: no event will be added."""
        self.is_closed = True
        self.wake()

    def wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def after(self, seq: int, keep_alive: float) -> AsyncIterator[list[LogEvent]]:
        """The events after `seq` as they come, and an empty list after each `keep_alive` seconds without any."""
        loop = asyncio.get_running_loop()
        yielded_at = loop.time()
        timer: asyncio.Handle | None = None
        wakes_at = 0.0
        try:
            while True:
                if news := self.events[seq - self.base :]:
                    seq = news[-1].seq
                    yield news
                    yielded_at = loop.time()
                elif self.is_closed:
                    return
                elif loop.time() - yielded_at >= keep_alive:
                    yield []
                    yielded_at = loop.time()
                else:
                    # Not one timer per event: it fires once per `keep_alive` seconds, mostly while events come and for
                    # nothing. It may fire a moment too early, and then another one must follow.
                    if wakes_at <= loop.time() + _EARLY_SECONDS:
                        wakes_at = yielded_at + keep_alive
                        timer = loop.call_at(wakes_at, self.wake)
                    waiter = loop.create_future()
                    self._waiters.append(waiter)
                    await waiter
        finally:
            if timer:
                timer.cancel()
