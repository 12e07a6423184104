"""Removes what `python -m functions new` made for an agent: all of it, or nothing."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from functions.registry import (
    FunctionList,
    InvalidFunctions,
    folder_of,
    listed_functions,
    read_file,
    read_list,
)
from local.environment import ROOT
from local.scaffold.generated import LIST, changed_texts
from local.writing import write_all

#: The agents of the bundle: its tests, its examples and `make dev` use them.
_SHIPPED: Final = ("assistant", "trips")


@dataclass(frozen=True)
class Removal:
    """What to remove and to change in a checkout, by paths from its root."""

    name: str
    root: Path
    removed: tuple[str, ...]
    changed: dict[str, str]

    def apply(self) -> None:
        """Remove and change the files.

        Raises:
            InvalidFunctions: a file cannot be written or removed; nothing has changed.
        """
        contents = {self.root / path: text.encode() for path, text in self.changed.items()}
        try:
            write_all(contents, [self.root / path for path in self.removed])
        except OSError as error:
            raise InvalidFunctions(
                f"The agent {self.name} cannot be removed, and nothing has changed: {error}."
            ) from None
        # What is left in it is Python's cache.
        shutil.rmtree(self.root / _folder(self.name), ignore_errors=True)
        listed_functions.cache_clear()


def plan_removal(name: str, root: Path = ROOT) -> Removal:
    """What to remove and to change for an agent on the list, also if some of its files are gone already.

    Raises:
        InvalidFunctions: there is no such agent, it is part of the bundle, or a file cannot be read.
    """
    functions = read_file(root / LIST)
    _check_removable(name, functions)
    try:
        changed = changed_texts(root, _without(name, functions))
    except OSError as error:
        raise InvalidFunctions(
            f"The agent {name} cannot be removed, and nothing has changed: {error}."
        ) from None
    return Removal(name, root, tuple(_own_files(name, root)), changed)


def _check_removable(name: str, functions: FunctionList) -> None:
    agents = [each for each in functions.agents if each not in _SHIPPED]
    own = f"your agents are {', '.join(agents)}" if agents else "you have no agent of your own"
    if name not in functions.names:
        raise InvalidFunctions(f"There is no agent {name}; {own}.")
    if name not in agents:
        raise InvalidFunctions(f"{name} cannot be removed, because the bundle needs it; {own}.")


def _without(name: str, functions: FunctionList) -> FunctionList:
    entries = [each.entry() for each in functions.functions if each.name != name]
    return read_list({"database_clients": functions.database_clients, "functions": entries})


def _folder(name: str) -> str:
    return f"functions/{folder_of(name)}"


def _own_files(name: str, root: Path) -> Iterator[str]:
    """The files of the agent alone: all of its folder, its test and its manifest, those that exist."""
    for path in sorted((root / _folder(name)).rglob("*")):
        if not path.is_dir() and "__pycache__" not in path.parts:
            yield path.relative_to(root).as_posix()
    for other in (f"tests/functions/test_{folder_of(name)}.py", f"knative/base/{name}.yaml"):
        if (root / other).exists():
            yield other
