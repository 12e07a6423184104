"""Makes the files of a new agent: all of them, or none."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from string import Template
from typing import Final

from functions.registry import (
    AGENT,
    FunctionList,
    InvalidFunctions,
    check_name,
    folder_of,
    listed_functions,
    read_list,
    variable_of,
)
from knative.budget import Budget, budget
from knative.errors import Refused
from local.environment import ROOT
from local.scaffold.generated import LIST, changed_texts
from local.writing import write_all

_TEMPLATES: Final = Path(__file__).parent / "templates"
_PODS: Final = 10


def make_agent(name: str, root: Path = ROOT) -> str:
    """Make an agent in a checkout; returns what to report.

    Raises:
        InvalidFunctions: the name cannot be used, no pod is left, or a file cannot be read or written; nothing has
            changed.
    """
    check_name(name)
    try:
        return _make_agent(name, root)
    except OSError as error:
        raise InvalidFunctions(
            f"The agent {name} cannot be made, and nothing has changed: {error}."
        ) from None


def _make_agent(name: str, root: Path) -> str:
    functions = listed_functions(root / LIST)
    for path in _needed_paths(name):
        if name in functions.names or (root / path).exists():
            raise InvalidFunctions(f"The name {name} is taken: {path} exists.")
    current = _read_budget(functions, root)
    pods = min(_PODS, current.pods_left)
    if not pods:
        raise InvalidFunctions(
            f"No pod is left for {name}, because {current}; lower a max-scale in knative/base or DATABASE_CONNECTIONS "
            f"in knative/base/settings.env, or raise database_clients in {LIST}."
        )
    new_texts = _make_new_texts(name, pods)
    extended = _add_to_list(name, functions)
    changed = changed_texts(root, extended)
    texts = {**new_texts, **changed}
    write_all({root / path: text.encode() for path, text in texts.items()})
    listed_functions.cache_clear()
    return _report(name, new_texts, changed, _read_budget(extended, root))


def _needed_paths(name: str) -> list[str]:
    """The paths that must not exist yet."""
    folder = folder_of(name)
    return [
        f"functions/{folder}",
        f"functions/{folder}.py",
        f"tests/functions/test_{folder}.py",
        f"knative/base/{name}.yaml",
    ]


def _read_budget(functions: FunctionList, root: Path) -> Budget:
    try:
        return budget(functions, root / "knative/base")
    except Refused as error:
        raise InvalidFunctions(str(error)) from None


def _make_new_texts(name: str, pods: int) -> dict[str, str]:
    """The new files, with their texts."""
    folder = folder_of(name)
    values = {"name": name, "folder": folder, "variable": variable_of(name), "pods": str(pods)}
    return {
        f"functions/{folder}/__init__.py": "",
        f"functions/{folder}/app.py": _fill_template("app.py", values),
        f"tests/functions/test_{folder}.py": _fill_template("test.py", values),
        f"knative/base/{name}.yaml": _fill_template("service.yaml", values),
    }


def _add_to_list(name: str, functions: FunctionList) -> FunctionList:
    """The list with the agent after the other agents."""
    entries = [function.entry() for function in functions.functions]
    description = "An agent with an example tool."
    at = max((n for n, each in enumerate(entries, 1) if each["kind"] == AGENT), default=0)
    entries.insert(at, {"name": name, "kind": AGENT, "description": description})
    return read_list({"database_clients": functions.database_clients, "functions": entries})


def _report(
    name: str, new_paths: Iterable[str], changed_paths: Iterable[str], after: Budget
) -> str:
    names = {"name": name, "folder": folder_of(name), "variable": variable_of(name)}
    values = {**names, "budget": f"{after}."}
    lists = {"new_paths": _indent(new_paths), "changed_paths": _indent(changed_paths)}
    return _fill_template("report.txt", {**values, **lists})


def _indent(paths: Iterable[str]) -> str:
    return "\n".join(f"  {path}" for path in paths)


def _fill_template(template: str, values: Mapping[str, str]) -> str:
    return Template((_TEMPLATES / f"{template}.template").read_text()).substitute(values)
