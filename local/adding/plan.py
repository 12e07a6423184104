"""What `add-to` would do to an app: every file, and what the user should know before."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from functions.registry import FunctionList
from local.adding.app import App, CannotAdd, fingerprint, has_content
from local.adding.config import gateway_block, warnings, with_block
from local.adding.gateway import GatewayFiles, plan_gateway, shipped_gateway
from local.adding.manifest import NAME, Manifest
from local.adding.migrations import Copies, plan_copies, read_migrations
from local.writing import write_all

#: Beside the migrations: what they make or change outside schema agent.
OUTSIDE: Final = "outside.json"


@dataclass(frozen=True)
class Plan:
    """The changes of one run. Nothing was written yet."""

    app: App
    #: The files to create or replace, with their new contents.
    written: Mapping[Path, bytes]
    removed: list[Path]
    left: list[Path]
    has_migrations: bool
    warnings: list[str]

    @property
    def is_empty(self) -> bool:
        return not self.written and not self.removed

    def apply(self) -> None:
        """Write everything or nothing.

        Raises:
            OSError: a file cannot be written; nothing has changed.
        """
        write_all(self.written, self.removed)


def make_plan(app: App, ours: App, functions: FunctionList, now: datetime, *, force: bool) -> Plan:
    """Compare the app with what this checkout ships.

    Raises:
        CannotAdd: the app is in a state that needs its developer.
        OSError: a file cannot be read.
    """
    manifest = Manifest.read(app)
    config = with_block(app, gateway_block(ours))
    copies = plan_copies(app, ours, manifest.migrations if manifest else {}, now)
    shipped = shipped_gateway(ours, functions)
    files = plan_gateway(app, shipped, manifest.gateway if manifest else None, force=force)
    proposed = {
        **copies.new,
        **files.written,
        app.gateway / NAME: _new_manifest(ours, shipped).to_bytes(),
        app.config: config,
    }
    written = {
        path: content for path, content in proposed.items() if not has_content(path, content)
    }
    _check_no_link(app, [*written, *files.removed])
    left = _left(app, copies, files, written)
    return Plan(app, written, files.removed, left, bool(copies.new), warnings(app))


def _new_manifest(ours: App, gateway: Mapping[str, bytes]) -> Manifest:
    return Manifest(
        {m.name: fingerprint(m.content) for m in read_migrations(ours)},
        {name: fingerprint(content) for name, content in gateway.items()},
    )


def _left(
    app: App, copies: Copies, files: GatewayFiles, written: Mapping[Path, bytes]
) -> list[Path]:
    others = [path for path in (app.gateway / NAME, app.config) if path not in written]
    return [*copies.left, *files.left, *others]


def _check_no_link(app: App, paths: list[Path]) -> None:
    for path in paths:
        within = [each for each in (path, *path.parents) if each.is_relative_to(app.folder)]
        for each in within:
            if each != app.folder and each.is_symlink():
                raise CannotAdd(
                    f"{each.relative_to(app.folder)} is a symbolic link; replace it by what it points to."
                )
