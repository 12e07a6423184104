"""`python -m functions`: its help lists each command, and a mistake shows the help."""

import re

import pytest

from functions.__main__ import main
from functions.registry import RESERVED, listed_functions

COMMANDS = ("list", "new", "remove", "add-to", "doctor")


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as exit_:
        main([*arguments])
    assert exit_.value.code == 2
    return capsys.readouterr().err


def test_the_help_has_a_line_for_each_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])

    shown = capsys.readouterr().out
    listed = re.findall(r"^    ([a-z-]+) +\w.*$", shown, re.MULTILINE)
    assert tuple(listed) == COMMANDS
    assert set(COMMANDS) <= set(RESERVED)
    assert ",".join(listed_functions().names) in "".join(shown.split())


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main([command, "--help"])

    assert exit_.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: python -m functions {command} ")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((), "Name a command, or a function to serve."),
        (("nothing",), "There is no command and no function nothing."),
        (("assistant", "8080"), "assistant is a function: it takes no arguments."),
        (("new",), "the following arguments are required: name"),
        (("list", "agents"), "unrecognized arguments: agents"),
    ],
)
def test_a_mistake_shows_the_help_and_the_reason(
    arguments: tuple[str, ...], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = refused(capsys, *arguments)

    assert shown.startswith("usage: python -m functions ")
    assert shown.rstrip().endswith(reason)


def test_doctor_says_whose_environment_it_reads(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["doctor", "--help"])

    shown = " ".join(capsys.readouterr().out.split())
    assert "It reads the variables of its own environment and no file" in shown
    assert "`make dev` gives its functions variables of their own" in shown
