"""Whether the data of an earlier start can be used: they may be another version's, or incomplete."""

import subprocess
from pathlib import Path

from local import CannotStart

_DELETE = "`make clean` deletes them, with their threads, and the next start makes new ones"


def check_kept_data(home: Path, binaries: Path) -> None:
    """Check the data in the folder of a server, if there are any, before these programs start with them.

    Raises:
        CannotStart: the programs cannot use them; the message says what to do.
    """
    data = home / "data"
    if not data.exists():
        return
    if not (home / "password").exists():
        raise CannotStart(f"The data in {home} have lost their file `password`: {_DELETE}.")
    if not all((data / part).exists() for part in ("PG_VERSION", "global/pg_control")):
        raise CannotStart(f"The data in {home} are incomplete: {_DELETE}.")
    theirs, ours = (data / "PG_VERSION").read_text().strip(), _major(binaries)
    if theirs != ours:
        raise CannotStart(
            f"The data in {home} are of Postgres {theirs}, and this is Postgres {ours}: {_DELETE}; or set PG_BIN to the"
            f" programs of Postgres {theirs}."
        )


def refused_password(home: Path) -> CannotStart:
    """The error for data that refuse the password beside them."""
    return CannotStart(
        f"The data in {home} have another password than its file `password`: {_DELETE}."
    )


def _major(binaries: Path) -> str:
    """The major version of the programs, as PG_VERSION has it."""
    command = [str(binaries / "postgres"), "--version"]
    output = subprocess.run(command, capture_output=True, text=True).stdout
    # postgres (PostgreSQL) 17.2 (Debian ...)
    return output.partition(")")[2].strip().partition(".")[0].partition(" ")[0]
