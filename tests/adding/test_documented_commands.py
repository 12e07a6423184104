"""Every command of the Supabase CLI that a page names is one that the real CLI knows, with all its flags."""

import os
import re
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest

from local.environment import ROOT
from tests.adding.cli import program

#: `supabase db push --remote`, in a console block, in a sentence, or in what `add-to` prints.
_COMMAND = re.compile(
    r"(?:^\$ |(?:\bdo|&&|\|\|) |`|^ +)supabase ((?:[a-z]+(?:-[a-z]+)* ?){1,2})(.*)", re.M
)
_SUBCOMMANDS = {"db", "functions", "gen", "migration", "secrets"}
#: Decisions tell of commands that were rejected.
PAGES = [
    *(path for path in (ROOT / "docs").glob("*.md") if path.name != "decisions.md"),
    *(ROOT / "local").rglob("*.py"),
    ROOT / "README.md",
]


def documented() -> dict[str, set[str]]:
    """The flags of each command, from all pages."""
    found: dict[str, set[str]] = defaultdict(set)
    for page in PAGES:
        text = page.read_text().replace("\\\n", " ")
        for words, rest in _COMMAND.findall(text):
            name, *more = words.split()
            command = " ".join([name, *more[:1]] if name in _SUBCOMMANDS else [name])
            found[command] |= set(re.findall(r"(?<!\S)--[a-z-]+", re.split(r"[`;&|]", rest)[0]))
    return found


COMMANDS = documented()


def test_the_pages_have_commands() -> None:
    assert COMMANDS["db push"] == {"--workdir", "--remote"}
    assert COMMANDS.keys() >= {"link", "secrets set", "functions deploy", "gen signing-key"}


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_the_cli_knows_a_command_and_its_flags(command: str, tmp_path: Path) -> None:
    shown = subprocess.run(
        [str(program()), *command.split(), "--help"],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "NO_COLOR": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert f"supabase {command}" in shown.stdout, shown.stdout + shown.stderr
    known = set(re.findall(r"--[a-z-]+", shown.stdout))
    assert COMMANDS[command] <= known
