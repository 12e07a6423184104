"""A sign of life while a person waits: the seconds, on a line of stderr that disappears."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from time import monotonic

#: Shorter waits show nothing.
_PATIENCE_SECONDS = 1.0


class Spinner:
    """Shows how long the person has waited, and for what, until it is stopped. Without a terminal it shows nothing."""

    def __init__(self, is_shown: bool) -> None:
        self.is_shown = is_shown
        self._what = ""
        self._stopped: Event | None = None
        self._thread: Thread | None = None

    def start(self, what: str = "") -> None:
        """Start to count, if it does not count yet for the same."""
        if self._stopped and what != self._what:
            self.stop()
        if self.is_shown and not self._stopped:
            self._what = what
            self._stopped = Event()
            thread = Thread(target=self._show, args=(self._stopped,), daemon=True)
            # Ctrl-C may interrupt the start. Then the thread ends unjoined, before it has written anything.
            thread.start()
            self._thread = thread

    def stop(self) -> None:
        """Clear the line. After that, nothing more is written."""
        if self._stopped:
            self._stopped.set()
        if self._thread:
            self._thread.join()
        self._stopped = self._thread = None

    def _show(self, stopped: Event) -> None:
        started_at, is_visible = monotonic(), False
        what = f"{self._what}, " if self._what else ""
        while not stopped.wait(_PATIENCE_SECONDS):
            sys.stderr.write(f"\r\033[2m… {what}{monotonic() - started_at:.0f} s\033[0m")
            sys.stderr.flush()
            is_visible = True
        if is_visible:
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Show what the person waits for on the terminal, if there is one, until the block ends."""
    spinner = Spinner(sys.stderr.isatty())
    spinner.start(what)
    try:
        yield
    finally:
        spinner.stop()
