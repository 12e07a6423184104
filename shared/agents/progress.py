"""Reports of a call's progress, for the user who waits: at most one a period, the newest."""

import asyncio
from collections.abc import Callable
from threading import get_ident
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
    """Passes on the newest report of one call, at most once a period. It may be called from any thread.

    Raises:
        TypeError, ValueError, OverflowError: `done` or `total` is no number.
    """

    def __init__(self, deliver: Callable[[Report], None]) -> None:
        self._deliver = deliver
        self._loop = asyncio.get_running_loop()
        self._loop_thread = get_ident()
        self._newest: Report | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._due_at = 0.0

    def __call__(self, done: float, total: float | None = None, message: str | None = None) -> None:
        text = None if message is None else clean(message)[:_CHARACTERS]
        report = Report(float(done), None if total is None else float(total), text)
        if get_ident() == self._loop_thread:
            self._take(report)
        else:
            self._loop.call_soon_threadsafe(self._take, report)

    def _take(self, report: Report) -> None:
        self._newest = report
        if self._timer:
            return
        if self._loop.time() >= self._due_at:
            self._pass_on()
        else:
            self._timer = self._loop.call_at(self._due_at, self._pass_on)

    def _pass_on(self) -> None:
        self._timer, self._due_at = None, self._loop.time() + _PERIOD_SECONDS
        if self._newest:
            self._deliver(self._newest)
            self._newest = None

    def close(self) -> None:
        """Pass on the last report before the call's result, and none after it."""
        if self._timer:
            self._timer.cancel()
        self._pass_on()
        # Of a thread that outlives its call.
        self._deliver = _drop


def _drop(report: Report) -> None:
    del report
