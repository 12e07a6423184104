"""The time limits of one model turn."""

import asyncio
from typing import Final, Self

_CHECK_SECONDS: Final = 0.05


class SilenceLimit:
    """Ends a turn in which nothing arrives for too long, or that takes too long in all, with one timer for the turn.

    Only the time in which a chunk is awaited counts: cancelling the code that works on a chunk would raise outside of
    the block that translates the time-out.
    """

    def __init__(self, timer: asyncio.Timeout, seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._timer = timer
        self._seconds = seconds
        self._deadline = timer.when() or 0.0
        self._waits_since: float | None = None
        timer.reschedule(None)

    def __enter__(self) -> Self:
        self.wait()
        self._check()
        return self

    def wait(self) -> None:
        """A chunk is awaited from here on."""
        self._waits_since = self._loop.time()

    def heard(self) -> None:
        """A chunk arrived, and is worked on."""
        self._waits_since = None
        if self._timer.when() is not None:
            # It arrived when the time-out was already scheduled.
            self._timer.reschedule(None)
            self._next = self._loop.call_later(_CHECK_SECONDS, self._check)

    def _check(self) -> None:
        now = self._loop.time()
        since = now if self._waits_since is None else self._waits_since
        ends_at = min(since + self._seconds, self._deadline)
        if self._waits_since is not None and now >= ends_at:
            self._timer.reschedule(now)
        else:
            self._next = self._loop.call_at(max(ends_at, now + _CHECK_SECONDS), self._check)

    def __exit__(self, *_: object) -> None:
        self._next.cancel()
