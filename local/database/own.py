"""The stack's database: its own server with all migrations applied, or the one in SUPABASE_DATABASE_URL."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from local import CannotStart
from local.children import Children
from local.database import postgres
from local.database.connecting import connect
from local.database.kept_data import refused_password
from local.database.migrations import bootstrap, migrate, outdated
from local.database.postgres import Server

_LIVE_RUNS = """
select status, count(*) as runs from agent.run where status in ('queued', 'in_progress') group by status
"""


@dataclass(frozen=True)
class Logins:
    """The URLs of one database: with the functions' login, and with the migrations'."""

    functions: str
    owner: str
    #: Whether the owner may write the test users, as whom `chat` and `token` sign in.
    has_test_users: bool = True


def local_logins(server: Server) -> Logins:
    return Logins(server.url("agent_api"), server.url("postgres"))


def start(
    children: Children,
    home: Path,
    *,
    port: int,
    pg_bin: str,
    keeps_data: bool,
    say: Callable[[str], None],
) -> Logins:
    """Start the server of `home`, bootstrapped and migrated. Outdated data is dropped unless `keeps_data`.

    Raises:
        CannotStart: the server does not start, a migration fails, or other migrations made the data to keep.
    """
    if not (home / "data").exists():
        say("             creating its data, which happens once")
    server = postgres.start(children, home, port=port, pg_bin=pg_bin)
    logins = local_logins(server)
    try:
        asyncio.run(_prepare(server, logins.owner, keeps_data, say))
    except asyncpg.InvalidPasswordError:
        raise refused_password(home) from None
    return logins


def live_runs(owner_url: str) -> dict[str, int]:
    """Open runs by status, `queued` and `in_progress`; empty if the database cannot be reached."""
    try:
        return asyncio.run(_live_runs(owner_url))
    except (CannotStart, OSError, asyncpg.PostgresError):
        return {}


async def _live_runs(owner_url: str) -> dict[str, int]:
    connection = await connect(owner_url)
    try:
        return {row["status"]: row["runs"] for row in await connection.fetch(_LIVE_RUNS)}
    finally:
        await connection.close()


async def _prepare(
    server: Server, owner_url: str, keeps_data: bool, say: Callable[[str], None]
) -> None:
    await bootstrap(server)
    if sentence := await outdated(owner_url):
        if keeps_data:
            raise CannotStart(sentence)
        await _empty(server)
        await bootstrap(server)
    for file in await migrate(owner_url):
        say(f"             applied {file}")


async def _empty(server: Server) -> None:
    connection = await asyncpg.connect(server.url(postgres.SUPERUSER, "template1"))
    try:
        await connection.execute("drop database postgres with (force)")
        await connection.execute("create database postgres")
    finally:
        await connection.close()
