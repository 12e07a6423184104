"""A real Postgres on this machine, from binaries that pip installed: without an account or a system service.

The data is in `data` of the folder `home`, beside the superuser's password. Postgres refuses to run as root, so root's
server runs as `nobody`. If `nobody` cannot reach `home` (a checkout in a private home folder), `home` is a symbolic
link to a folder in /var/tmp, which also gets a copy of the binaries. This creates no user, and changes the mode of no
existing folder.
"""

import hashlib
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from pwd import struct_passwd
from tempfile import mkdtemp
from time import monotonic, sleep

from local import CannotStart
from local.children import Child, Children, as_user
from local.database.binaries import find_binaries, may_enter, runnable
from local.database.kept_data import check_kept_data
from local.probe import free_port

SUPERUSER = "supabase_admin"
_START_SECONDS = 30.0
_STOP_SECONDS = 5.0
_CTYPE = "en_US.UTF-8" if sys.platform == "darwin" else "C.UTF-8"
_UNSAFE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


@dataclass(frozen=True)
class Server:
    """A running Postgres on loopback."""

    port: int
    secret: str

    def password(self, login: str) -> str:
        """The login's password. Each login has its own, derived from one secret."""
        if login == SUPERUSER:
            return self.secret
        return hashlib.sha256(f"{self.secret} {login}".encode()).hexdigest()

    def url(self, login: str, database: str = "postgres") -> str:
        return f"postgresql://{login}:{self.password(login)}@127.0.0.1:{self.port}/{database}"


def start(
    children: Children,
    home: Path,
    *,
    port: int = 0,
    pg_bin: str = "",
    is_safe: bool = True,
    options: Mapping[str, str] | None = None,
) -> Server:
    """Start the server of `home` on the port (0: a free one); initialise it if necessary.

    Without `is_safe`, a crash of the machine loses data, and the server is faster.

    Raises:
        CannotStart: there are no binaries, the port or the data are in use, or the data are out of reach or
            cannot be used.
    """
    user = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
    folder = _reachable_home(home, user)
    binaries = runnable(find_binaries(pg_bin), folder, user)
    check_kept_data(folder, binaries)
    secret = _initialised(binaries, folder, user)
    _clear_stale_lock(folder / "data")
    port = port or free_port()
    child = children.start(
        "postgres",
        [binaries / "postgres", "-D", folder / "data", *_options(port, is_safe, options or {})],
        env={"LC_ALL": "C", "TZ": "UTC"},
        user=user,
        # Fast shutdown: it closes open sessions.
        stop=signal.SIGINT,
        used_by_all=True,
    )
    _wait_until_ready(child, folder / "data")
    return Server(port, secret)


def is_running(home: Path) -> bool:
    """Whether a server runs with the data in this folder."""
    return _answers(home / "data")


def _reachable_home(home: Path, user: struct_passwd | None) -> Path:
    home.parent.mkdir(parents=True, exist_ok=True)
    if home.is_symlink() and not home.exists():
        home.unlink()
    if not home.exists():
        _make_home(home, user)
    if not may_enter(home, user):
        raise CannotStart(
            f"The user nobody cannot reach {home}; `make clean` deletes it, with its data."
        )
    return home.resolve()


def _make_home(home: Path, user: struct_passwd | None) -> None:
    if may_enter(home.parent, user):
        home.mkdir()
    else:
        home.symlink_to(mkdtemp(prefix="agent-functions-", dir="/var/tmp"))
    home.chmod(0o711 if user else 0o700)


def _initialised(binaries: Path, folder: Path, user: struct_passwd | None) -> str:
    password = folder / "password"
    if not (folder / "data").exists():
        _write_password(password, user)
        _initialise(binaries, folder, user)
    return password.read_text().strip()


def _write_password(password: Path, user: struct_passwd | None) -> None:
    password.unlink(missing_ok=True)
    with os.fdopen(os.open(password, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secrets.token_urlsafe(24))
    if user:
        os.chown(password, user.pw_uid, user.pw_gid)


def _initialise(binaries: Path, folder: Path, user: struct_passwd | None) -> None:
    # The folder is complete or absent: the rest of an interrupted initdb is deleted.
    half = folder / "data.half"
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir(mode=0o700)
    if user:
        os.chown(half, user.pw_uid, user.pw_gid)
    login = ["-U", SUPERUSER, "-A", "scram-sha-256", f"--pwfile={folder / 'password'}"]
    locale = ["-E", "UTF8", "--locale=C", f"--lc-ctype={_CTYPE}"]
    process = subprocess.run(
        [str(binaries / "initdb"), "-D", str(half), *login, *locale],
        capture_output=True,
        text=True,
        env={"TZ": "UTC"},
        **as_user(user),
    )
    if process.returncode:
        raise CannotStart(f"Postgres cannot be initialised: {process.stderr.strip()}")
    half.rename(folder / "data")


def _options(port: int, is_safe: bool, more: Mapping[str, str]) -> list[str]:
    settings = {
        "listen_addresses": "127.0.0.1",
        "port": str(port),
        # No socket file: its path has a length limit, and a killed server does not remove it.
        "unix_socket_directories": "",
        "wal_level": "logical",
        "max_connections": "200",
        "timezone": "UTC",
        **({} if is_safe else _UNSAFE),
        **more,
    }
    return [f"--{name}={value}" for name, value in settings.items()]


def _wait_until_ready(child: Child, data: Path) -> None:
    deadline = monotonic() + _START_SECONDS
    while _lock_file(data)[-1:] != ["ready"]:
        child.check()
        if monotonic() > deadline:
            raise CannotStart(
                f"Postgres is not ready after {_START_SECONDS:.0f} s; see {child.log}."
            )
        sleep(0.01)


def _clear_stale_lock(data: Path) -> None:
    # A server may still be stopping after its stack was killed. A live process that accepts no connection is another
    # program with the same pid.
    deadline = monotonic() + _STOP_SECONDS
    while _is_alive(data):
        if monotonic() > deadline:
            if _answers(data):
                raise CannotStart(
                    f"Postgres (process {_lock_file(data)[0]}) already serves {data}; stop it first."
                )
            break
        sleep(0.05)
    (data / "postmaster.pid").unlink(missing_ok=True)


def _is_alive(data: Path) -> bool:
    with suppress(ProcessLookupError, IndexError, ValueError):
        os.kill(int(_lock_file(data)[0]), 0)
        return True
    return False


def _answers(data: Path) -> bool:
    if _is_alive(data):
        with suppress(OSError, IndexError, ValueError):
            socket.create_connection(("127.0.0.1", int(_lock_file(data)[3])), 1).close()
            return True
    return False


def _lock_file(data: Path) -> list[str]:
    # pid, data, start, port, socket folder, address, shared memory, status
    with suppress(FileNotFoundError):
        return [line.strip() for line in (data / "postmaster.pid").read_text().splitlines()]
    return []
