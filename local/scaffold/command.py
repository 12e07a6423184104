"""`python -m functions remove`: shows what will change, asks, and changes it."""

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from string import Template
from typing import Final

from functions.registry import InvalidFunctions, variable_of
from local.confirming import is_confirmed
from local.environment import ROOT
from local.scaffold.removal import Removal, plan_removal

_REPORT: Final = Path(__file__).parent / "templates/removed.txt.template"


def remove(arguments: Sequence[str], root: Path = ROOT) -> int:
    """Remove an agent; returns the exit code: 0 if it is removed, else 1, and nothing has changed.

    Raises:
        InvalidFunctions: one sentence says why the agent cannot be removed.
    """
    options = _parser().parse_args(arguments)
    removal = plan_removal(options.name, root)
    sys.stdout.write(_describe(removal))
    sys.stdout.flush()
    if not options.yes and not is_confirmed(f"Remove {options.name}? What is not in Git is lost."):
        return 1
    if plan_removal(options.name, root) != removal:
        raise InvalidFunctions(
            "Files changed after the plan was shown, and nothing was removed; run the command again."
        )
    removal.apply()
    names = {"name": removal.name, "variable": variable_of(removal.name)}
    sys.stdout.write(Template(_REPORT.read_text()).substitute(names))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m functions remove",
        description="Remove an agent that `python -m functions new` made.",
    )
    parser.add_argument("name", help="the agent's name, as `python -m functions list` prints it")
    parser.add_argument("--yes", action="store_true", help="remove without a question")
    return parser


def _describe(removal: Removal) -> str:
    lists = (("Removes", removal.removed), ("Changes", removal.changed))
    return "".join(f"{verb}:\n{_indent(paths)}" for verb, paths in lists if paths)


def _indent(paths: Iterable[str]) -> str:
    return "".join(f"  {path}\n" for path in paths)
