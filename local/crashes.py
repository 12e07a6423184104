"""Shows in the terminal of `make dev` what functions log as errors, such as an exception in an agent's own code."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from local.children import Child
from local.environment import ROOT
from local.printing import printable


class Crashes:
    """The errors in the logs of these processes. Each check shows the new ones."""

    def __init__(self, children: Sequence[Child], say: Callable[[str], None]) -> None:
        self._say = say
        self._read_bytes = {child: _size(child.log) for child in children}

    def check(self) -> None:
        """Say what has been logged as an error since the last check."""
        for child in self._read_bytes:
            for line in self._new_lines(child):
                if sentence := _sentence(line):
                    self._say(f"  error      {child.name}: {sentence} ({child.log.name} has more)")

    def _new_lines(self, child: Child) -> Iterator[bytes]:
        place = self._read_bytes[child]
        # A process that restarts after a change begins a new log.
        start = place if _size(child.log) >= place else 0
        whole, newline, _ = _read_from(child.log, start).rpartition(b"\n")
        self._read_bytes[child] = start + len(whole) + len(newline)
        yield from whole.splitlines()


def _size(log: Path) -> int:
    return log.stat().st_size if log.exists() else 0


def _read_from(log: Path, start: int) -> bytes:
    """The bytes after the first `start`; none if there is no log, as between a stop and the next start."""
    with suppress(FileNotFoundError), log.open("rb") as opened:
        opened.seek(start)
        return opened.read()
    return b""


def _sentence(line: bytes) -> str | None:
    """A line of a function's log that is an error: what happened, in which tool, by which exception, and where."""
    try:
        entry: dict[str, Any] = json.loads(line)
        is_error = entry["level"] in ("ERROR", "CRITICAL")
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    if not is_error:
        return None
    tool, error, at = (entry.get(name) for name in ("tool", "error", "at"))
    cause = f"{error} at {_shown(at)}" if error and at else error
    words = (entry.get("event"), f"of {tool}" if tool else None, f"by {cause}" if cause else None)
    return printable(" ".join(map(str, filter(None, words))), kept="")


def _shown(at: Any) -> str:
    return str(at).removeprefix(f"{ROOT}/")
