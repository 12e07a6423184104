"""Reports of a call's progress, for the user who waits: at most one a period, the newest."""

import asyncio
from collections.abc import Callable
from typing import Final, NamedTuple

from shared.core import clean

_PERIOD_SECONDS: Final = 0.25
_CHARACTERS: Final = 500


class Report(NamedTuple):
    """How much is done, of how much (None: unknown), and a sentence."""

    done: float
    total: float | None = None
    message: str | None = None


class ProgressReporter:
    """Passes on the newest report of one call, at most once a period. It may be called from any thread."""

    def __init__(self, deliver: Callable[[Report], None]) -> None:
        self._deliver = deliver
        self._loop = asyncio.get_running_loop()
        self._newest: Report | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._due_at = 0.0

    def __call__(self, done: float, total: float | None = None, message: str | None = None) -> None:
        text = None if message is None else clean(message)[:_CHARACTERS]
        self._loop.call_soon_threadsafe(self._take, Report(done, total, text))

    def _take(self, report: Report) -> None:
        self._newest = report
        if self._timer is None:
            self._timer = self._loop.call_at(max(self._due_at, self._loop.time()), self._pass_on)

    def _pass_on(self) -> None:
        self._timer, self._due_at = None, self._loop.time() + _PERIOD_SECONDS
        if self._newest:
            self._deliver(self._newest)
            self._newest = None

    def close(self) -> None:
        """Drop the report that has not been passed on, because the call has its result."""
        self._newest = None
        if self._timer:
            self._timer.cancel()
