"""What other terminals of this checkout must know of the stack that runs."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from local import CannotStart

_FILE = "running.json"


@dataclass(frozen=True)
class Running:
    """A running stack. `owner_url` is the database, as the migrations' login.

    `project_url` issues the test users' tokens. `process` is the id of `make dev`.
    """

    process: int
    gateway_url: str
    owner_url: str
    project_url: str


@contextmanager
def announce(folder: Path, running: Running) -> Iterator[None]:
    """Let other terminals find the running stack, whatever settings its own terminal has."""
    file = folder / _FILE
    file.unlink(missing_ok=True)
    # The database's address contains a password.
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
        json.dump(asdict(running), opened)
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


def running_stack(folder: Path) -> Running:
    """The stack that was started with this folder.

    Raises:
        CannotStart: it does not run, or is not ready yet.
    """
    try:
        running = Running(**json.loads((folder / _FILE).read_text()))
        # A killed one leaves its file, perhaps in another version's form. Signal 0 asks whether the process exists.
        os.kill(running.process, 0)
    except (FileNotFoundError, ProcessLookupError, ValueError, TypeError):
        raise CannotStart(
            "`make dev` is not running: start it in another terminal, and wait until it is ready."
        ) from None
    return running
