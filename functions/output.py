"""The end of a command whose output has a reader that may end first, such as `head`."""

import os
import select
import sys
from collections.abc import Callable
from contextlib import suppress
from io import UnsupportedOperation
from typing import Final, TextIO

#: The shell's exit code for a program that SIGPIPE ended.
UNREAD: Final = 141


def run_while_read(command: Callable[[], int]) -> int:
    """The command's exit code; UNREAD, without a word, if the reader of its output ended first."""
    try:
        code = command()
        _flush()
    except BrokenPipeError as error:
        if not _discard_unread():
            # A connection of the command's own broke.
            print(error, file=sys.stderr)
            return 1
        return UNREAD
    finally:
        _discard_unread()
    return code


def _flush() -> None:
    for stream in _streams():
        stream.flush()


def _discard_unread() -> bool:
    """Whether a stream has no reader. What it still holds is discarded: Python would write it at exit, and complain."""
    unread = [stream for stream in _streams() if not _is_read(stream)]
    for stream in unread:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
    return bool(unread)


def _is_read(stream: TextIO) -> bool:
    """Whether a pipe still has a reader; a file or a terminal always has."""
    with suppress(UnsupportedOperation):
        poll = select.poll()
        poll.register(stream.fileno(), 0)
        return not any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))
    return True


def _streams() -> list[TextIO]:
    """Standard output and errors, as far as they are open."""
    return [stream for stream in (sys.stdout, sys.stderr) if stream]
