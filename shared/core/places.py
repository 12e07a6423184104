"""Where code of `functions/` is: the file and line that a log line names, instead of an exception's message."""

from collections.abc import Iterable
from traceback import walk_stack, walk_tb
from types import FrameType
from typing import NamedTuple

_PACKAGE = "functions."


class Place(NamedTuple):
    """`folder`: that of the function, if the place is in one. `at`: file and line."""

    folder: str | None
    at: str


def _place_of_error(error: BaseException) -> Place:
    """Where an error was raised: the innermost line of a function's own code, or else the innermost line."""
    if isinstance(error, SyntaxError) and error.filename:
        return Place(None, f"{error.filename}:{error.lineno}")
    return _first_own([*walk_tb(error.__traceback__)][::-1])


def error_facts(error: BaseException) -> dict[str, str]:
    """What a log line says of an error: its kind and place, never its message, which may quote content or a secret."""
    return {"error": type(error).__name__, "at": _place_of_error(error).at}


def place_of_thread(frame: FrameType | None) -> Place:
    """What a thread with this innermost frame executes, by the same rule."""
    return _first_own([*walk_stack(frame)] if frame else [])


def _first_own(frames: Iterable[tuple[FrameType, int]]) -> Place:
    innermost: Place | None = None
    for frame, line in frames:
        at = f"{frame.f_code.co_filename}:{line}"
        module = str(frame.f_globals.get("__name__", ""))
        if module.startswith(_PACKAGE):
            return Place(module.split(".")[1], at)
        # Python's own importer has no files.
        if innermost is None and not at.startswith("<"):
            innermost = Place(None, at)
    return innermost or Place(None, "")
