"""The list of functions, `functions.json`, and its rules. All code that needs the functions' names reads them here."""

import json
import keyword
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

FILE: Final = Path(__file__).parent / "functions.json"
#: As `shared.http` has it for agents: part of a URL, a host and a Kubernetes object's name.
NAME: Final = re.compile(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?\Z")
AGENT: Final = "agent"
#: Whether the gateway routes requests to functions of this kind.
KINDS: Final = {AGENT: True, "runner": False, "threads": True, "tools": False}
#: Commands of `python -m functions`, the gateway, and the other processes of the local stack.
RESERVED: Final = (
    "list",
    "new",
    "remove",
    "add-to",
    "doctor",
    "auth-gateway",
    "gateway",
    "model",
    "postgres",
)
_MEMBERS: Final = {"database_clients", "functions"}
_MEMBERS_OF_FUNCTION: Final = {"name", "kind", "description"}


class InvalidFunctions(Exception):
    """One sentence that says what is wrong with the list, or with a name for it."""


@dataclass(frozen=True, slots=True)
class ListedFunction:
    """One entry of the list."""

    name: str
    kind: str
    description: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def entry(self) -> dict[str, Any]:
        """The entry in the list's JSON."""
        required = {"name": self.name, "kind": self.kind, "description": self.description}
        return {**required, "options": dict(self.options)} if self.options else required

    @property
    def folder(self) -> str:
        return folder_of(self.name)

    @property
    def is_public(self) -> bool:
        """Whether clients reach it through the gateway."""
        return KINDS[self.kind]


@dataclass(frozen=True, slots=True)
class FunctionList:
    """The functions in the list's order, and how many clients the smallest pooler of their database takes."""

    database_clients: int
    functions: Sequence[ListedFunction]

    @property
    def names(self) -> list[str]:
        return [function.name for function in self.functions]

    @property
    def public(self) -> list[ListedFunction]:
        return [function for function in self.functions if function.is_public]

    @property
    def agents(self) -> list[str]:
        """The names of the agents."""
        return [function.name for function in self.functions if function.kind == AGENT]


def folder_of(name: str) -> str:
    """The folder of a function, which is also the name of its Python package."""
    return name.replace("-", "_")


def variable_of(name: str) -> str:
    """The function's name as a part of the names of variables and of keys of Secrets."""
    return folder_of(name).upper()


@cache
def listed_functions(file: Path = FILE) -> FunctionList:
    """The list.

    Raises:
        InvalidFunctions: the list breaks a rule, or a function on it has no code.
    """
    functions = read_file(file)
    for name in functions.names:
        check_code(name, file)
    return functions


def read_file(file: Path = FILE) -> FunctionList:
    """The list, for a process that serves one function: the code of the others is not checked.

    Raises:
        InvalidFunctions: the list breaks a rule.
    """
    try:
        content = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise InvalidFunctions(f"{file.name} cannot be read: {error}.") from None
    return read_list(content)


def check_code(name: str, file: Path = FILE) -> None:
    """Check that a function on the list has its module.

    Raises:
        InvalidFunctions: it does not.
    """
    folder = folder_of(name)
    if not (file.parent / folder / "app.py").is_file():
        raise InvalidFunctions(
            f"{file.name} lists {name}, but functions/{folder}/app.py does not exist: restore it, or run"
            f" `python -m functions remove {name}`."
        )


def agent_names() -> list[str]:
    """The names of the agents on the list, for the function that executes the runs of all.

    Raises:
        InvalidFunctions: the list breaks a rule.
    """
    return read_file().agents


def read_list(content: Any) -> FunctionList:
    """The list from its JSON; the folders are not checked.

    Raises:
        InvalidFunctions: the list breaks a rule.
    """
    if not isinstance(content, dict) or content.keys() != _MEMBERS:
        raise InvalidFunctions("functions.json has the members database_clients and functions.")
    clients, entries = content["database_clients"], content["functions"]
    if type(clients) is not int or clients < 1:
        raise InvalidFunctions("database_clients is a whole number from 1 up.")
    if not isinstance(entries, list):
        raise InvalidFunctions("functions is a list.")
    functions = [_read_function(entry) for entry in entries]
    _check_names([function.name for function in functions])
    return FunctionList(clients, functions)


def check_name(name: str) -> None:
    """Check that a function can have this name.

    Raises:
        InvalidFunctions: it cannot.
    """
    if not NAME.match(name):
        raise InvalidFunctions(
            f"{name!r} cannot be a function's name: up to 40 lower-case letters, digits and -, from a letter on."
        )
    if name in RESERVED or keyword.iskeyword(folder_of(name)):
        raise InvalidFunctions(f"{name!r} cannot be a function's name, because it is reserved.")


def _read_function(entry: Any) -> ListedFunction:
    if not isinstance(entry, dict) or entry.keys() - {"options"} != _MEMBERS_OF_FUNCTION:
        raise InvalidFunctions(
            f"A function has name, kind, description and, if needed, options, and nothing else: {entry!r}."
        )
    name, kind, description = entry["name"], entry["kind"], entry["description"]
    if not all(isinstance(text, str) for text in (name, kind, description)):
        raise InvalidFunctions(f"name, kind and description are texts: {entry!r}.")
    check_name(name)
    if kind not in KINDS:
        raise InvalidFunctions(f"{name} is of the unknown kind {kind!r}: {', '.join(KINDS)}.")
    options = entry.get("options", {})
    if "\n" in description:
        raise InvalidFunctions(f"The description of {name} is one line.")
    if not isinstance(options, dict):
        raise InvalidFunctions(f"The options of {name} are an object.")
    return ListedFunction(name, kind, description, options)


def _check_names(names: Sequence[str]) -> None:
    # No name contains `_`, so two names never have the same folder.
    for name in names:
        if names.count(name) > 1:
            raise InvalidFunctions(f"Two functions are named {name}.")
