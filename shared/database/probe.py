"""What an examination reads from Postgres: the login, its rights, the schema, and whether a pooler shares servers."""

from collections.abc import Collection
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shared.database.pool import Database

_FACTS: Final = Path(__file__).with_name("facts.sql")
#: SQLSTATEs of a statement that was prepared on another server, or that another client has prepared on this one.
_LOST_STATEMENTS: Final = ("26000", "42P05")


@dataclass(frozen=True, slots=True)
class Facts:
    """`functions`: those of schema `agent`. `forbidden`: those of them that this login may not execute."""

    login: str
    is_read_only: bool
    may_act: bool
    functions: Collection[str]
    forbidden: Collection[str]


async def read_facts(database: Database) -> Facts:
    """The facts about the login.

    Raises:
        Unavailable: Postgres cannot be reached in time; its cause is the driver's error.
        InvalidSettings: Postgres refuses the login, or it bypasses row-level security.
    """
    async with database.connection() as connection:
        return Facts(**dict(await connection.fetchrow(_FACTS.read_text())))


async def shares_servers(database: Database) -> bool:
    """Whether two connections of ours reach the same server process, as behind a pooler in transaction mode."""
    try:
        async with AsyncExitStack() as stack:
            first, second = [
                await stack.enter_async_context(database.connection()) for _ in range(2)
            ]
            return await _have_met(first, second)
    except Exception as error:
        if getattr(error, "sqlstate", None) in _LOST_STATEMENTS:
            return True
        raise


async def _have_met(first: object, second: object) -> bool:
    seen: list[set[int]] = [set(), set()]
    # A pooler may hand out its servers in turn.
    for _ in range(10):
        for pids, connection in zip(seen, (first, second), strict=True):
            pids.add(await connection.fetchval("select pg_backend_pid()"))  # type: ignore[attr-defined]  # asyncpg's
    return bool(seen[0] & seen[1])
