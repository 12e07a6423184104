"""The files of the Edge Function `auth-gateway`: which of them an app lacks, and which it may lose."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from functions.registry import FunctionList
from local.adding.app import GATEWAY, App, CannotAdd, fingerprint
from local.routes import make_routes

_ROUTES: Final = "functions.ts"


@dataclass(frozen=True)
class GatewayFiles:
    """The files to write, those to remove because we no longer ship them, and those that are as we ship them."""

    written: dict[Path, bytes] = field(default_factory=dict)
    removed: list[Path] = field(default_factory=list)
    left: list[Path] = field(default_factory=list)


def shipped_gateway(ours: App, functions: FunctionList) -> dict[str, bytes]:
    """Every file of the gateway by its path in the gateway's folder, with the routes of the listed functions."""
    files = sorted(file for file in ours.gateway.rglob("*") if file.is_file())
    contents = {file.relative_to(ours.gateway).as_posix(): file.read_bytes() for file in files}
    return {**contents, _ROUTES: make_routes(functions).encode()}


def plan_gateway(
    app: App, files: Mapping[str, bytes], shipped: Mapping[str, str] | None, *, force: bool
) -> GatewayFiles:
    """Compare an app's gateway with ours; `shipped` has the fingerprints of the files that it got, None if none.

    Raises:
        CannotAdd: the app has another function of this name, or a file was edited and `force` is not set.
    """
    if shipped is None and app.gateway.exists() and not _is_copy(app, files):
        raise CannotAdd(
            f"{GATEWAY} is a function of the app's own; rename it, because clients reach the agents by this name."
        )
    known = shipped or {}
    plan = GatewayFiles()
    for name, content in files.items():
        path = app.gateway / name
        if path.exists() and fingerprint(path.read_bytes()) == fingerprint(content):
            plan.left.append(path)
        else:
            if not force:
                _check_unedited(path, known.get(name))
            plan.written[path] = content
    for name in sorted(known.keys() - files.keys()):
        if (path := app.gateway / name).exists():
            if not force:
                _check_unedited(path, known[name])
            plan.removed.append(path)
    return plan


def _is_copy(app: App, files: Mapping[str, bytes]) -> bool:
    """Whether the folder has nothing but our files as they are: a copy made by hand, or none."""
    found = [file for file in app.gateway.rglob("*") if file.is_file()]
    names = {file.relative_to(app.gateway).as_posix(): file for file in found}
    return all(
        name in files and fingerprint(file.read_bytes()) == fingerprint(files[name])
        for name, file in names.items()
    )


def _check_unedited(path: Path, shipped: str | None) -> None:
    if path.exists() and fingerprint(path.read_bytes()) != shipped:
        raise CannotAdd(
            f"{GATEWAY}/{path.name} was edited in the app; undo that, or replace the file with --force."
        )
