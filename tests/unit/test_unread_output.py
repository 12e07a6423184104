"""Commands whose output nobody reads to its end: `python -m local token | head -c 5`."""

import os
import subprocess
import sys

import pytest

from functions.output import UNREAD
from local.environment import ROOT

#: A command that writes a line, which Python writes at once or at exit.
COMMAND = """
import sys
from functions.output import run_while_read

def command():
    print("x" * 10, flush={flush}, file=sys.{stream})
    return 0

sys.exit(run_while_read(command))
"""


def unread(*command: str, stream: str = "stdout") -> tuple[int, bytes]:
    """The exit code of a command whose stream has no reader, and what it wrote to the other one."""
    ours, theirs = os.pipe()
    os.close(ours)
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, stream: theirs}
    try:
        ended = subprocess.run([sys.executable, *command], cwd=ROOT, timeout=60, **streams)  # type: ignore[call-overload]  # the streams
    finally:
        os.close(theirs)
    return ended.returncode, ended.stderr if stream == "stdout" else ended.stdout


@pytest.mark.parametrize("flush", [True, False])
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_command_without_a_reader_ends_without_a_word(flush: bool, stream: str) -> None:
    command = COMMAND.format(flush=flush, stream=stream)
    assert unread("-c", command, stream=stream) == (UNREAD, b"")


@pytest.mark.parametrize(
    "arguments",
    [
        ["local", "--help"],
        ["local", "chat", "--help"],
        ["functions", "--help"],
        ["functions", "list"],
        ["functions", "doctor"],
        ["knative", "deploy", "--help"],
    ],
)
def test_so_do_all_commands(arguments: list[str]) -> None:
    _, errors = unread("-m", *arguments)
    assert errors == b""


def test_a_broken_connection_is_still_reported() -> None:
    command = COMMAND.format(flush=True, stream="stdout").replace(
        "return 0", 'raise BrokenPipeError("the server is gone")'
    )
    ended = subprocess.run(
        [sys.executable, "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (ended.returncode, ended.stderr) == (1, "the server is gone\n")
