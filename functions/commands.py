"""The commands of `python -m functions` that serve no function."""

import argparse
import asyncio
import importlib
import logging
import sys
from collections.abc import Collection, Sequence
from typing import Any, Final

from functions.registry import FunctionList, InvalidFunctions, listed_functions
from shared.core import Settings

_DOCTOR: Final = """\
Try what a function needs: the database, the keys, the model and the MCP servers. It reads the variables of its own
environment and no file, so it shows how a deployed function finds them: run it in a pod of that function, or with the
variables of one. `make dev` gives its functions variables of their own, which it does not see."""


def run(arguments: Sequence[str], names: Sequence[str]) -> int:
    """Run a command; returns the exit code. `names`: the functions on the list, for the help.

    Raises:
        InvalidFunctions, InvalidSettings: one sentence says why the command failed.
        SystemExit: the arguments are wrong, or only the help was wanted.
    """
    match arguments:
        # Commands that read their own options.
        case ["add-to", *options]:
            return int(_of_checkout("local.adding").main(options))
        case ["remove", *options]:
            return int(_of_checkout("local.scaffold").remove(options))
    parser, commands = _parser(names)
    match arguments:
        case []:
            parser.error("Name a command, or a function to serve.")
        case [name, *_] if name in names:
            parser.error(f"{name} is a function: it takes no arguments.")
        case [name, *_] if not name.startswith("-") and name not in commands:
            parser.error(f"There is no command and no function {name}.")
    parsed = parser.parse_args(arguments)
    return int(parsed.run(parsed))


class _Parser(argparse.ArgumentParser):
    """After a mistake, it prints all of its help."""

    def error(self, message: str) -> Any:
        self.exit(2, f"{self.format_help()}\n{message}\n")


def _parser(names: Sequence[str]) -> tuple[argparse.ArgumentParser, Collection[str]]:
    """The parser, and the names of the commands."""
    parser = _Parser(
        prog="python -m functions",
        usage="python -m functions COMMAND | FUNCTION",
        epilog=f"A function serves on $PORT, until SIGTERM or Ctrl-C: {', '.join(names)}.",
    )
    commands = parser.add_subparsers(
        title="commands", metavar="COMMAND", prog="python -m functions"
    )
    for name, run_command, summary, description in (
        ("list", _list, "list the functions", "List the functions of functions.json."),
        ("new", _make_agent, "make an agent", "Make an agent: its code, test, manifest, routes."),
        ("remove", None, "remove an agent that `new` made", ""),
        ("add-to", None, "add the schema and the gateway to a Supabase app", ""),
        ("doctor", _examine, "try what a function with this environment needs", _DOCTOR),
    ):
        command = commands.add_parser(name, help=summary, description=description)
        command.set_defaults(run=run_command)
        if name == "new":
            command.add_argument("name", help="lower-case letters, digits and -")
    return parser, commands.choices


def _list(_: argparse.Namespace) -> int:
    sys.stdout.write(_table(listed_functions()))
    return 0


def _table(functions: FunctionList) -> str:
    """A line for each function: its name, its kind, whether it is public, and its description."""
    rows = [
        ("name", "kind", "public", "description"),
        *(
            (each.name, each.kind, "yes" if each.is_public else "no", each.description)
            for each in functions.functions
        ),
    ]
    name, kind, public, _ = (max(map(len, column)) for column in zip(*rows, strict=True))
    return "".join(f"{a:<{name}}  {b:<{kind}}  {c:<{public}}  {d}\n" for a, b, c, d in rows)


def _make_agent(options: argparse.Namespace) -> int:
    sys.stdout.write(_of_checkout("local.scaffold").make_agent(options.name))
    return 0


def _of_checkout(package: str) -> Any:
    """A package that is not in the image, because it writes into a checkout or copies from it."""
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError:
        raise InvalidFunctions(
            "This command needs a checkout, and the packages that `make dev` installs there."
        ) from None


def _examine(_: argparse.Namespace) -> int:
    """Try what a function with this environment needs.

    Raises:
        InvalidSettings: a setting cannot be read.
    """
    settings = Settings.from_env()
    # Each line says what log lines would say.
    logging.disable(logging.CRITICAL)
    _show("Tries the variables of this environment. `make dev` has others; --help says more.\n\n")
    doctor = importlib.import_module("shared.doctor")
    for sentence in doctor.misspelled(Settings.given_names()).values():
        _show(f"{'setting':<20} {sentence}\n")
    return 0 if asyncio.run(doctor.examine(settings, _show)) else 1


def _show(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
