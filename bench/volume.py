"""`python -m bench.volume`: what runs cost in Postgres by the hundred thousand: bytes, log, pruning, vacuum.

Some real runs are measured, with answers of eight seconds. One of them is then copied, row by row, because 200,000 real
ones would take hours. `make bench` has the figures of shorter runs.
"""

import argparse
import asyncio
import re
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic
from typing import Any, Final

import asyncpg
import uvloop

from bench.contenders import AGENT
from bench.counting import counts, wal_bytes, without_vacuum
from bench.load import at_once
from bench.machine import cpu_ms
from bench.rounds import progress
from bench.rows.streaming import expect_whole, warm_up
from bench.site import FOLDER, Site, site
from local.database.postgres import SUPERUSER

_TOKENS, _PAUSE_MS = 160, 50
_REAL, _CHUNK = 100, 10_000
_SQL: Final = dict(
    re.findall(
        r"-- name: (\w+)\n(.+?);\n", Path(__file__).with_suffix(".sql").read_text(), re.DOTALL
    )
)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.volume", description=__doc__)
    parser.add_argument("--runs", type=int, default=200_000, help="how many copies to make")
    runs = parser.parse_args().runs
    try:
        with site() as here, without_vacuum(here.server):
            _real_runs(here)
            asyncio.run(_copies(here, runs))
    finally:
        shutil.rmtree(FOLDER / "postgres" / "data", ignore_errors=True)
    return 0


def _real_runs(here: Site) -> None:
    """The cost of real runs, all at once, as they share each tick's commit; with and without Postgres's full pages."""
    with AGENT.running(here) as (server, port, _):
        warm_up(here, AGENT, port)
        for full_pages in ("on", "off"):
            asyncio.run(_set_full_pages(here, full_pages))
            before = (*asyncio.run(_spent(here)), server.cpu_ms())
            requests = [AGENT.request(here, f"{_TOKENS}x{_PAUSE_MS}") for _ in range(_REAL)]
            expect_whole(uvloop.run(at_once(port, requests, spread_seconds=2)), _TOKENS)
            after = (*asyncio.run(_spent(here)), server.cpu_ms())
            each = [(there - here) / _REAL for here, there in zip(before, after, strict=True)]
            print(
                f"{_REAL} real runs, full pages {full_pages}, each: {each[0]:.2f} statements, {each[1]:.2f} commits, "
                f"{each[2]:,.0f} bytes of WAL; CPU: Postgres {each[3]:.1f} ms, function {each[4]:.1f} ms",
                flush=True,
            )


async def _set_full_pages(here: Site, value: str) -> None:
    connection = await asyncpg.connect(here.server.url(SUPERUSER))
    await connection.execute(f"alter system set full_page_writes = {value}")
    await connection.execute("select pg_reload_conf()")
    await connection.execute("checkpoint")
    await connection.close()


async def _spent(here: Site) -> tuple[float, ...]:
    """Statements, commits, bytes of WAL and CPU milliseconds of all of Postgres's processes, so far."""
    connection = await asyncpg.connect(here.server.url(SUPERUSER))
    pids = await connection.fetch("select pid from pg_stat_activity where pid <> pg_backend_pid()")
    await connection.close()
    cpu = sum(cpu_ms(pid) for (pid,) in pids)
    return *await counts(here.server, AGENT.database), await wal_bytes(here.server), cpu


async def _copies(here: Site, runs: int) -> None:
    await _set_full_pages(here, "on")
    async with _connected(here) as connection:
        run = await connection.fetchval(
            "select id from agent.run where status = 'completed' order by last_seq desc, id limit 1"
        )
        for row in await connection.fetch(_SQL["rows"], run):
            print(
                f"  {row['type']}: {row['count']} rows, {row['events']} events, {row['bytes']:,} bytes"
            )
        await _fill(connection, run, runs)
        await _sizes(connection, "filled", runs)
        await _drop(connection)
        await _prune(here, connection, runs)


async def _fill(connection: "asyncpg.Connection[asyncpg.Record]", run: object, runs: int) -> None:
    # The copies fire no triggers, and no foreign key is checked.
    await connection.execute("set session_replication_role = replica")
    for first in range(1, runs + 1, _CHUNK):
        last = min(first + _CHUNK - 1, runs)
        for name in ("threads", "runs", "events", "items", "usage"):
            await connection.execute(_SQL[name], run, first, last)
        progress(f"  {last:,} of {runs:,} runs")
    await connection.execute("set session_replication_role = origin")
    await connection.execute("vacuum (analyze, freeze)")


async def _sizes(connection: "asyncpg.Connection[asyncpg.Record]", name: str, runs: int) -> None:
    print(f"{name}, bytes per run:")
    for row in await connection.fetch(_SQL["sizes"]):
        heap, indexes = row["heap"] / runs, row["indexes"] / runs
        print(
            f"  {row['name']}: {row['rows']:,} rows, table {heap:,.0f}, indexes {indexes:,.0f}",
            flush=True,
        )


async def _prune(here: Site, connection: "asyncpg.Connection[asyncpg.Record]", runs: int) -> None:
    """Delete the deltas, then all events but the endings, as the schedule does; then vacuum."""
    await connection.execute(_SQL["age"])
    for name, hours in (("deltas", 720), ("events", 0)):
        before, started_at, calls = await wal_bytes(here.server), monotonic(), 0
        while await connection.fetchval(
            "select agent.prune('1 hour', make_interval(hours => $1), '720 hours', 1000)", hours
        ):
            calls += 1
        took, wal = monotonic() - started_at, await wal_bytes(here.server) - before
        print(f"pruned {name}: {took:.1f} s, {calls} calls, {wal / runs:,.0f} bytes of WAL a run")
        await _vacuum(here, connection, runs)
        await _sizes(connection, f"without {name}", runs)


async def _vacuum(here: Site, connection: "asyncpg.Connection[asyncpg.Record]", runs: int) -> None:
    for table in ("run_event", "run"):
        before, started_at = await wal_bytes(here.server), monotonic()
        await connection.execute(f"vacuum agent.{table}")
        took, wal = monotonic() - started_at, await wal_bytes(here.server) - before
        print(f"vacuum of {table}: {took:.1f} s, {wal / runs:,.0f} bytes of WAL a run", flush=True)


async def _drop(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Drop the log as if it were a partition: a copy of it, because the schema has none."""
    await connection.execute("create table agent.part as select * from agent.run_event")
    started_at = monotonic()
    await connection.execute("drop table agent.part")
    print(f"dropped a table of the log's rows: {(monotonic() - started_at) * 1000:.0f} ms")


@asynccontextmanager
async def _connected(here: Site) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    connection: Any = await asyncpg.connect(here.server.url(SUPERUSER), command_timeout=900)
    try:
        yield connection
    finally:
        await connection.close()


if __name__ == "__main__":
    sys.exit(main())
