"""What a stack is started with, and whether it can start."""

import fcntl
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from local import CannotStart, gateway, model
from local.database import find_binaries
from local.keys import Keys
from local.probe import require_free
from shared.core import InvalidSettings, Settings

#: A gateway's port beside `supabase start`, which uses 54320 to 54329.
_OTHER_PORT = 54331


@dataclass(frozen=True)
class Plan:
    """The stack to start: its folder, keys, ports, and the user's settings."""

    folder: Path
    keys: Keys
    environ: Mapping[str, str]
    gateway_port: int
    postgres_port: int
    keeps_data: bool
    say: Callable[[str], None]

    def value(self, name: str) -> str:
        return self.environ.get(name, "").strip()

    @property
    def database_url(self) -> str:
        return self.value("SUPABASE_DATABASE_URL")


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder for one stack.

    Raises:
        CannotStart: another stack holds it.
    """
    with (folder / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            raise CannotStart(
                f"The stack already runs in this checkout, as process {lock.read()}; stop that one first."
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def check(plan: Plan) -> None:
    """Check everything that can be checked before the first process starts.

    Raises:
        CannotStart: the stack cannot start; the message says what to do.
    """
    gateway.find_deno()
    remedy = f"stop what uses it (`supabase start`?), or set GATEWAY_PORT={_OTHER_PORT}."
    require_free(plan.gateway_port, remedy)
    if not plan.database_url:
        find_binaries(plan.value("PG_BIN"))
        require_free(plan.postgres_port, "stop what uses it or set POSTGRES_PORT.")
    model.choose(plan.environ, 0)
    level = plan.value("LOG_LEVEL").upper()
    if level and level not in logging.getLevelNamesMapping():
        raise CannotStart(f"LOG_LEVEL={level} must be DEBUG, INFO, WARNING or ERROR.")
    try:
        Settings.from_env(plan.environ)
    except InvalidSettings as error:
        raise CannotStart(str(error)) from None
