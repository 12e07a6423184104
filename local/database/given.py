"""The database of SUPABASE_DATABASE_URL: whether the stack can use it, and with which logins.

A start changes one thing in it, and only on loopback: it gives a password to `agent_api`, which the migrations make
without one, so that the functions need not log in as the owner.
"""

import asyncio
import os
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import asyncpg

from local import CannotStart
from local.database.connecting import Connection, connect
from local.database.expected import difference
from local.database.files import MIGRATIONS, read_migrations
from local.database.migrations import why_dropped
from local.database.own import Logins
from local.database.project_shape import check_is_project
from shared.database import read_address

_FACTS = Path(__file__).with_suffix(".sql")
_PASSWORD = "agent_api-password"  # noqa: S105  # the file's name
_APPLY = (
    "apply its migrations with `python -m functions add-to <your app's folder>` and `supabase migration up` there, or,"
    ' if no app migrates this database, with `python -m local migrate --url "$SUPABASE_DATABASE_URL"`'
)
_AGENT_API = "the login agent_api (docs/deploy.md, step 2)"


@dataclass(frozen=True)
class Facts:
    """What given.sql selects. `has_password` is None if there is no role agent_api."""

    login: str
    bypasses_rls: bool
    may_act: bool
    may_execute: bool
    may_add_users: bool
    has_password: bool | None
    has_schema: bool

    @property
    def may_run(self) -> bool:
        """Whether functions can use this login, row-level security aside."""
        return self.may_act and self.may_execute


def given_logins(url: str, folder: Path, *, may_bypass: bool, say: Callable[[str], None]) -> Logins:
    """The logins of the database at this address. `folder` keeps the password that `agent_api` may get.

    Raises:
        CannotStart: the stack cannot use the database; the message says what to do.
    """
    try:
        return asyncio.run(_logins(url, folder, may_bypass, say))
    except asyncpg.PostgresError as error:
        raise CannotStart(f"The database of SUPABASE_DATABASE_URL refuses: {error}.") from None


async def _logins(url: str, folder: Path, may_bypass: bool, say: Callable[[str], None]) -> Logins:
    connection = await connect(url)
    try:
        await check_is_project(connection)
        facts = Facts(**dict(await connection.fetchrow(_FACTS.read_text()) or {}))
        await _check_schema(connection, facts)
        if not facts.may_add_users:
            say(_without_test_users(facts.login))
        if facts.may_run and (may_bypass or not facts.bypasses_rls):
            return Logins(url, url, facts.may_add_users)
        _check_is_local(url, facts)
        own = await _agent_api(connection, facts, url, folder, say)
        return Logins(own, url, facts.may_add_users)
    finally:
        await connection.close()


async def _check_schema(connection: Connection, facts: Facts) -> None:
    if not facts.has_schema:
        dropped = await why_dropped(connection)
        raise CannotStart(
            dropped or f"The database of SUPABASE_DATABASE_URL has no schema agent: {_APPLY}."
        )
    if other := await difference(connection, read_migrations(MIGRATIONS)):
        raise CannotStart(
            "Schema agent of SUPABASE_DATABASE_URL is not as this checkout expects it"
            f" (agent.{other} differs): {_APPLY}; if they are applied already, docs/deploy.md"
            " says under *Starting over* how to reset it."
        )


def _without_test_users(login: str) -> str:
    return (
        f"  users      none for tests: {login} may not write auth.users, so sign in as users of your project,"
        " which SUPABASE_URL names, or use the login postgres of `supabase start`"
    )


def _check_is_local(url: str, facts: Facts) -> None:
    if is_on_loopback(url):
        return
    why, more = "may not execute the functions of schema agent", ""
    if facts.bypasses_rls:
        why = "bypasses row-level security, and `make dev` changes no database of another machine"
        more = ", or set ALLOW_BYPASSRLS_LOGIN=1 where a pooler admits no other"
    raise CannotStart(
        f"The login {facts.login} of SUPABASE_DATABASE_URL {why}: use {_AGENT_API}{more}."
    )


async def _agent_api(
    connection: Connection, facts: Facts, url: str, folder: Path, say: Callable[[str], None]
) -> str:
    """The address with the login `agent_api` and the kept password, which it gets if it has none yet."""
    password = _kept_password(folder / _PASSWORD)
    own = with_login(url, "agent_api", password)
    if not facts.has_password:
        await _set_password(connection, facts.login, password)
        say(f"  login      agent_api got a password, kept in {folder / _PASSWORD}")
    say(f"  login      the functions log in as agent_api, not as {facts.login}")
    try:
        await (await connect(own)).close()
    except CannotStart:
        raise CannotStart(
            "The login agent_api has a password that this checkout does not know: if you know it, use this login in"
            f" SUPABASE_DATABASE_URL; else run `alter role agent_api nologin` as {facts.login}, and the next `make dev`"
            " sets a new one. Another checkout with this SUPABASE_DATABASE_URL then needs the same."
        ) from None
    return own


async def _set_password(connection: Connection, login: str, password: str) -> None:
    try:
        # A statement that changes a role takes no parameters; the password is hexadecimal.
        await connection.execute(f"alter role agent_api login password '{password}'")
    except asyncpg.InsufficientPrivilegeError:
        raise CannotStart(
            f"The login {login} of SUPABASE_DATABASE_URL may not give agent_api a password: use the login that applied"
            f" the migrations, or {_AGENT_API}."
        ) from None


def _kept_password(file: Path) -> str:
    if not file.exists():
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
            opened.write(secrets.token_hex(24))
    return file.read_text()


def with_login(url: str, user: str, password: str) -> str:
    """The same address with another login. What is written before the host wins over parameters."""
    return re.sub(r"://(?:[^/?#]*@)?", f"://{user}:{password}@", url.strip(), count=1)


def is_on_loopback(url: str) -> bool:
    """Whether an address leads to this machine only. One without a host may lead anywhere, by PGHOST."""
    hosts = read_address(url).place.get("host", [])
    return bool(hosts) and all(map(is_loopback, hosts))


def is_loopback(host: str) -> bool:
    """Whether a host, or the folder of a socket, is on this machine."""
    if host == "localhost" or host.startswith("/"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
