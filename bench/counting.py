"""Counts of a database's statements and commits, exact at the time of the query.

`pg_stat_database` would be late: an idle session reports its counts up to ten seconds later. The queries of this module
are in neither count: they only read, and use their own database.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import asyncpg

from local.database.postgres import SUPERUSER, Server

_OWN: Final = "counting"
#: Postgres assigns a transaction's number at its first write; a reading transaction has no commit to flush.
_COUNTS: Final = """
select coalesce(sum(calls), 0)::bigint, pg_snapshot_xmax(pg_current_snapshot())::text::bigint
  from pg_stat_statements where dbid = (select oid from pg_database where datname = $1)
"""

_WAL: Final = "select (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint"


async def prepare(server: Server) -> None:
    """Enable counts on a new server, which must run with `pg_stat_statements` loaded and `track = top`."""
    await _execute(server, "template1", f"create database {_OWN}")
    await _execute(server, _OWN, "create extension pg_stat_statements")


async def counts(server: Server, database: str) -> tuple[int, int]:
    """The statements sent to a database, with those of pools and `commit`; the server's transactions that wrote."""
    connection = await asyncpg.connect(server.url(SUPERUSER, _OWN))
    try:
        ((statements, commits),) = await connection.fetch(_COUNTS, database)
        return statements, commits
    finally:
        await connection.close()


async def wal_bytes(server: Server) -> int:
    """The bytes of write-ahead log that the server has written since its creation."""
    connection = await asyncpg.connect(server.url(SUPERUSER, _OWN))
    try:
        return await connection.fetchval(_WAL)  # type: ignore[no-any-return]  # a bigint
    finally:
        await connection.close()


@contextmanager
def without_vacuum(server: Server) -> Iterator[None]:
    """Turn autovacuum off meanwhile, because it writes, too."""
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
