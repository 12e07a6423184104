"""Logs an event loop that code blocks for more than a second: meanwhile no run of the process gets on, and no lease is
renewed."""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread, get_ident
from time import monotonic
from typing import Final

from shared.core import logger, place_of_thread

_LIMIT_SECONDS: Final = 1.0
#: The pause between two looks. A loop that blocks for this much longer than the limit is noticed in any case.
_PAUSE_SECONDS: Final = 0.2
#: A block that has not ended after this long is logged, as one may never end.
_LONGEST_SECONDS: Final = 30.0


class LoopWatchdog:
    """Watches the event loop from a thread while runs are executed.

    The thread starts with the first run. Without a run it waits for one, and nothing wakes it.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop_thread = get_ident()
        self._thread: Thread | None = None
        self._runs = 0
        self._has_work = Event()
        self._closed = Event()

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Watch the loop inside the block, which executes a run."""
        if not self._thread:
            self._thread = Thread(target=self._run, name="loop watchdog", daemon=True)
            self._thread.start()
        self._runs += 1
        self._has_work.set()
        try:
            yield
        finally:
            self._runs -= 1
            if not self._runs and not self._closed.is_set():
                self._has_work.clear()

    def close(self) -> None:
        """End the thread."""
        self._closed.set()
        self._has_work.set()

    def _run(self) -> None:
        while True:
            self._has_work.wait()
            if self._closed.is_set():
                return
            try:
                self._look()
            except RuntimeError:
                # The loop is closed.
                return
            self._closed.wait(_PAUSE_SECONDS)

    def _look(self) -> None:
        has_answered, since = Event(), monotonic()
        self._loop.call_soon_threadsafe(has_answered.set)
        if has_answered.wait(_LIMIT_SECONDS):
            return
        folder, at = place_of_thread(sys._current_frames().get(self._loop_thread))
        has_answered.wait(_LONGEST_SECONDS - _LIMIT_SECONDS)
        agent = {"agent": folder.replace("_", "-")} if folder else {}
        seconds = round(monotonic() - since, 1)
        logger.warning("loop.blocked", extra={**agent, "seconds": seconds, "at": at})
        while not (has_answered.wait(_LIMIT_SECONDS) or self._closed.is_set()):
            pass
