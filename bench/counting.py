"""What a database did: statements and commits, exact at the moment they are asked for.

`pg_stat_database` would be late: an idle session keeps its counts to itself for up to ten seconds. What counts here
is in neither count: it only reads, in a database of its own.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import asyncpg

from local.postgres import SUPERUSER, Server

_OWN: Final = "counting"
#: Postgres numbers transactions when they first write; one that only reads has nothing to wait for on the disk.
_COUNTS: Final = """
select coalesce(sum(calls), 0)::bigint, pg_snapshot_xmax(pg_current_snapshot())::text::bigint
  from pg_stat_statements where dbid = (select oid from pg_database where datname = $1)
"""

_WAL: Final = "select (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint"


async def prepare(server: Server) -> None:
    """Make a new server count. It has to be started with `pg_stat_statements` loaded, and counting what is on top."""
    await _execute(server, "template1", f"create database {_OWN}")
    await _execute(server, _OWN, "create extension pg_stat_statements")


async def counts(server: Server, database: str) -> tuple[int, int]:
    """Statements a database was sent, pools' and `commit` included; transactions that wrote, of the whole server."""
    connection = await asyncpg.connect(server.url(SUPERUSER, _OWN))
    try:
        ((statements, commits),) = await connection.fetch(_COUNTS, database)
        return statements, commits
    finally:
        await connection.close()


async def wal_bytes(server: Server) -> int:
    """The bytes of write-ahead log the server has written since it was made."""
    connection = await asyncpg.connect(server.url(SUPERUSER, _OWN))
    try:
        return await connection.fetchval(_WAL)  # type: ignore[no-any-return]  # that integer
    finally:
        await connection.close()


@contextmanager
def without_vacuum(server: Server) -> Iterator[None]:
    """No housekeeping of Postgres's own meanwhile: it writes, too."""
    asyncio.run(_set(server, "off"))
    try:
        yield
    finally:
        asyncio.run(_set(server, "on"))


async def _set(server: Server, autovacuum: str) -> None:
    await _execute(server, _OWN, f"alter system set autovacuum = {autovacuum}")
    await _execute(server, _OWN, "select pg_reload_conf()")


async def _execute(server: Server, database: str, statement: str) -> None:
    connection = await asyncpg.connect(server.url(SUPERUSER, database))
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
