"""What a command says if a package that it needs is not installed. This module imports nothing but Python's own."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_ROOT: Final = Path(__file__).parent.parent
_OURS: Final = ("functions", "knative", "local", "shared")


@contextmanager
def needed_packages(command: str, *targets: str) -> Iterator[None]:
    """Around the imports of `python -m <command>`: if a package is missing, exit with 2 and one sentence.

    `targets`: the commands that install all of them.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = str(error.name).partition(".")[0]
        if package in _OURS:
            raise
        sys.stderr.write(f"{_sentence(command, targets, package)}\n")
        raise SystemExit(2) from None


def _sentence(command: str, targets: Iterable[str], package: str) -> str:
    install = " or ".join(f"`{target}`" for target in targets)
    if Path(sys.prefix) == _ROOT / ".venv":
        return f"python -m {command} needs the package {package}: run {install} first."
    return (
        f"This Python ({sys.executable}) has no package {package}: run {install} once, and then"
        f" .venv/bin/python -m {command} …"
    )
