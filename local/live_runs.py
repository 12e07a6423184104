"""The runs that a function's process answers: they are in its memory only, so its log is asked."""

import json
from pathlib import Path
from threading import Lock
from typing import Final

#: All runs of the process before have left its hands.
_BEGINS: Final = "function.ready"
_TAKES: Final = "run.started"
_LEAVES: Final = ("run.ended", "run.released", "run.lease_lost")


class Held:
    """Follows one log as it grows, through every restart."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._read = 0
        self._has_begun = False
        self._runs: set[tuple[object, object]] = set()
        self._reading = Lock()

    def count(self) -> int | None:
        """How many there are; None where the log does not say, as LOG_LEVEL is above INFO."""
        with self._reading, self._log.open("rb") as log:
            log.seek(self._read)
            for line in log:
                if not line.endswith(b"\n"):
                    # The rest of it comes.
                    break
                self._read += len(line)
                self._take(line)
            return len(self._runs) if self._has_begun else None

    def _take(self, line: bytes) -> None:
        try:
            said = json.loads(line)
        except ValueError:
            return
        event = said.get("event") if isinstance(said, dict) else None
        if event == _BEGINS:
            self._has_begun = True
            self._runs.clear()
        elif event == _TAKES:
            self._runs.add((said.get("user_id"), said.get("run_id")))
        elif event in _LEAVES:
            self._runs.discard((said.get("user_id"), said.get("run_id")))
