"""Counts the runs that a function's process holds, from its log: they are in its memory only."""

import json
from pathlib import Path
from threading import Lock
from typing import Final

#: A new process: it holds none of the previous process's runs.
_READY: Final = "function.ready"
_RUN_STARTED: Final = "run.started"
_RUN_GONE: Final = ("run.ended", "run.released", "run.lease_lost")


class LiveRuns:
    """Follows one log as it grows, across restarts of the process."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._read = 0
        self._has_started = False
        self._runs: set[tuple[object, object]] = set()
        self._reading = Lock()

    def count(self) -> int | None:
        """The number of runs; None if LOG_LEVEL is above INFO, so that the log does not show it."""
        with self._reading, self._log.open("rb") as log:
            log.seek(self._read)
            for line in log:
                if not line.endswith(b"\n"):
                    # The line is incomplete; the next call reads it.
                    break
                self._read += len(line)
                self._apply(line)
            return len(self._runs) if self._has_started else None

    def _apply(self, line: bytes) -> None:
        try:
            entry = json.loads(line)
        except ValueError:
            return
        event = entry.get("event") if isinstance(entry, dict) else None
        if event == _READY:
            self._has_started = True
            self._runs.clear()
        elif event == _RUN_STARTED:
            self._runs.add((entry.get("user_id"), entry.get("run_id")))
        elif event in _RUN_GONE:
            self._runs.discard((entry.get("user_id"), entry.get("run_id")))
