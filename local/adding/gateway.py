"""The files of the Edge Function `auth-gateway`: which of them an app lacks, and which it may lose."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from functions.registry import FunctionList
from local.adding.app import GATEWAY, App, CannotAdd, fingerprint, has_content
from local.routes import make_routes

_ROUTES: Final = "functions.ts"


@dataclass(frozen=True)
class GatewayFiles:
    """The files to write, those to remove because we no longer ship them, and those that are as we ship them."""

    written: Mapping[Path, bytes]
    removed: list[Path]
    left: list[Path]


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
    left = [name for name in files if has_content(app.gateway / name, files[name])]
    written = [name for name in files if name not in left]
    removed = [name for name in sorted(known.keys() - files) if (app.gateway / name).exists()]
    if not force:
        _check_unedited({name: app.gateway / name for name in (*written, *removed)}, known)
    return GatewayFiles(
        {app.gateway / name: files[name] for name in written},
        [app.gateway / name for name in removed],
        [app.gateway / name for name in left],
    )


def _is_copy(app: App, files: Mapping[str, bytes]) -> bool:
    """Whether the folder has nothing but our files as they are: a copy made by hand, or none."""
    found = [file for file in app.gateway.rglob("*") if file.is_file()]
    names = {file.relative_to(app.gateway).as_posix(): file for file in found}
    return all(name in files and has_content(file, files[name]) for name, file in names.items())


def _check_unedited(files: Mapping[str, Path], shipped: Mapping[str, str]) -> None:
    edited = [
        f"{GATEWAY}/{name}"
        for name, path in files.items()
        if path.exists() and fingerprint(path.read_bytes()) != shipped.get(name)
    ]
    if edited:
        were, them = ("were", "the files") if len(edited) > 1 else ("was", "the file")
        raise CannotAdd(
            f"{', '.join(edited)} {were} edited in the app; undo that, or replace {them} with --force."
        )
