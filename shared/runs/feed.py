"""The events of one run in the memory of a process that holds or follows it."""

import asyncio
from collections.abc import AsyncIterator, Sequence

from shared.core import LogEvent
from shared.runs.keep_alive import KeepAlive


class Feed:
    """The events of one run after position `base`, as this process learns of them. Any number of readers follow it."""

    def __init__(self, *, base: int) -> None:
        self.base = base
        self.events: list[LogEvent] = []
        self.is_closed = False
        self.has_gap = False
        self.followers = 0
        self._waiters: set[asyncio.Future[None]] = set()

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
        waiters, self._waiters = self._waiters, set()
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def after(self, seq: int, keep_alive: KeepAlive) -> AsyncIterator[list[LogEvent]]:
        """The events after `seq` as they come, and an empty list whenever a keep-alive is due."""
        loop = asyncio.get_running_loop()
        with keep_alive.watching() as silence:
            while True:
                if news := self.events[seq - self.base :]:
                    seq = news[-1].seq
                    yield news
                elif self.is_closed:
                    return
                elif silence.is_due:
                    yield []
                else:
                    # Not a method: this is once per event, and a coroutine of its own would double its cost.
                    waiter = loop.create_future()
                    self._waiters.add(waiter)
                    silence.wakes(waiter)
                    try:
                        await waiter
                    finally:
                        self._waiters.discard(waiter)
                    continue
                silence.end()
