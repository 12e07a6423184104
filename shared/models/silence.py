"""The time limits of a turn."""

import asyncio
from typing import Final, Self

_CHECK_SECONDS: Final = 0.05


class SilenceLimit:
    """Ends a turn that is silent for too long or takes too long in all.

    Only while the caller waits for a chunk may the time-out fire, because elsewhere it would not be converted to
    ModelFailed. One timer checks both limits.
    """

    def __init__(self, timer: asyncio.Timeout, seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._timer = timer
        self._seconds = seconds
        self._deadline = timer.when() or 0.0
        self._waits_since: float | None = None
        self._next: asyncio.TimerHandle | None = None
        timer.reschedule(None)

    def __enter__(self) -> Self:
        self.start_waiting()
        self._check()
        return self

    def start_waiting(self) -> None:
        """Count silence from now on, while the caller waits for a chunk."""
        self._waits_since = self._loop.time()

    def stop_waiting(self) -> None:
        """Stop counting silence: a chunk has arrived."""
        self._waits_since = None
        if self._timer.when() is not None:
            # The chunk arrived after the time-out was scheduled.
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

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        if self._next:
            self._next.cancel()
        if error is None:
            # The response ended after the time-out was scheduled.
            self._timer.reschedule(None)
