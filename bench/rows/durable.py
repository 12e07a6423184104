"""The cost of a run in the database: statements, commits and write-ahead log; and the cost of open streams."""

import asyncio
import json
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from statistics import median
from time import monotonic, sleep
from uuid import uuid4

import asyncpg
import uvloop

from bench.contenders import AGENT, NAIVE_POSTGRES, Contender
from bench.counting import counts, wal_bytes, without_vacuum
from bench.load import at_once, in_turn
from bench.peers import DURABLE
from bench.rounds import Effort, Figures, attempts, rounds
from bench.rows import Row, limit, ratio
from bench.rows.streaming import expect_whole, warm_up
from bench.site import Site

_STATEMENTS, _COMMITS = 4, 3
_WAL_BYTES = 9000
_ADMIT = "select agent.start_run($1, $2, $3, '{}')"
_LEASE = {"seconds": 30, "max_unfinished_attempts": 3, "history": 1000}
#: By then, all writes of a run have ended.
_SETTLE_SECONDS = 1.5
_LONG_RUNS = 3


def statements(site: Site, effort: Effort) -> Row:
    """Statements and writing transactions per text run, minus those of an idle period of the same length."""
    contenders = (AGENT, NAIVE_POSTGRES, *effort.of(DURABLE))
    runs = effort.pick(50, 100)
    with without_vacuum(site.server):
        results = rounds(
            site, contenders, lambda site, each: _per_run(site, each, runs), effort.rounds(1, 2)
        )
    goals = [
        limit(results, "assistant statements", _STATEMENTS, label="statements"),
        limit(results, "assistant commits", _COMMITS, label="commits"),
    ]
    return Row("statements and commits per text run", "", results, goals)


def _per_run(site: Site, contender: Contender, runs: int) -> dict[str, float]:
    with contender.running(site) as (_, port, _):
        warm_up(site, contender, port)
        sleep(_SETTLE_SECONDS)
        started_at, before = monotonic(), _counts(site, contender)
        expect_whole(
            uvloop.run(in_turn(port, lambda _: contender.request(site, "5x0"), runs, 1)), 5
        )
        sleep(_SETTLE_SECONDS)
        took, after = monotonic() - started_at, _counts(site, contender)
        # Measure the pollers, which continue without runs.
        sleep(took)
        idle = _counts(site, contender)
    each = [
        (there - here - (later - there)) / runs
        for here, there, later in zip(before, after, idle, strict=True)
    ]
    return {"statements": each[0], "commits": each[1]}


def _counts(site: Site, contender: Contender) -> tuple[int, int]:
    return asyncio.run(counts(site.server, contender.database))


def wal(site: Site, effort: Effort) -> Row:
    """Write-ahead log of one admission in a new thread, of a whole text run of five tokens, and of 1,000 tokens.

    The median excludes runs in which Postgres logs whole pages, which it does once per page after each checkpoint.
    """
    contenders = (AGENT, NAIVE_POSTGRES, *effort.of(DURABLE))
    runs = effort.pick(30, 100)
    measures: dict[str, Callable[[], Figures]] = {
        "admission": lambda: asyncio.run(_wal_of_admissions(site, runs)),
        **{each.name: partial(_wal, site, each, runs) for each in contenders},
    }
    with without_vacuum(site.server):
        results = attempts(measures, 1)
    goal = limit(results, "assistant run", _WAL_BYTES, "bytes", label="run")
    return Row("write-ahead log per text run", "bytes", results, [goal])


def _wal(site: Site, contender: Contender, runs: int) -> dict[str, float]:
    """Bytes of a run of five tokens, and what 1,000 tokens in a run of five seconds add."""
    with contender.running(site) as (_, port, _):
        warm_up(site, contender, port)
        short = _wal_of_runs(site, contender, port, "5x0", runs)
        long = _wal_of_runs(site, contender, port, "1005x5", _LONG_RUNS)
    return {"run": short, "1,000 tokens": long - short}


async def _wal_of_admissions(site: Site, count: int) -> float:
    """Admit runs in one transaction that is rolled back, so that no run is left."""
    claims = json.dumps(site.users["bench"].claims)
    connection = await asyncpg.connect(site.server.url("agent_api"))
    positions = [await wal_bytes(site.server)]
    try:
        await connection.execute("begin")
        for _ in range(count):
            request = json.dumps(_request("5x0"))
            await connection.fetchval(_ADMIT, claims, request, json.dumps(_LEASE))
            positions.append(await wal_bytes(site.server))
    finally:
        await connection.close()
    return median(later - earlier for earlier, later in pairwise(positions))


def _request(text: str) -> dict[str, object]:
    """A request as `start_run` reads it, in a new thread."""
    data = {"role": "user", "content": text}
    message = {"key": str(uuid4()), "kind": "message", "data": data}
    ids = {"client_run_id": str(uuid4()), "client_thread_id": str(uuid4()), "hash": "bench"}
    ids["agent"] = "assistant"
    lists: dict[str, object] = {"tools": [], "context": [], "resume": [], "state": {}}
    return {**ids, "messages": [message], "rewind_to": None, "busy": "reject", **lists}


def _wal_of_runs(site: Site, contender: Contender, port: int, prompt: str, count: int) -> float:
    tokens = int(prompt.partition("x")[0])
    positions = [asyncio.run(wal_bytes(site.server))]
    for _ in range(count):
        # The ending is committed before the client sees it.
        answers = uvloop.run(in_turn(port, lambda _: contender.request(site, prompt), 1, 1))
        expect_whole(answers, tokens)
        positions.append(asyncio.run(wal_bytes(site.server)))
    return median(later - earlier for earlier, later in pairwise(positions))


def statements_per_second(site: Site, effort: Effort) -> Row:
    """Statements per second while streams are open, each with four tokens a second."""
    few, many = 1, effort.pick(100, 500)
    results = attempts({f"{n} streams": partial(_per_second, site, n) for n in (few, many)}, 1)
    goal = ratio(results, f"{many} streams", f"{few} streams", at_most=1.25, label="one stream")
    return Row("statements per second with open streams", "/s", results, [goal])


def _per_second(site: Site, streams: int, seconds: int = 8) -> float:
    with AGENT.running(site) as (_, port, _):
        warm_up(site, AGENT, port)

        async def work() -> float:
            requests = [AGENT.request(site, f"{4 * (seconds + 10)}x250") for _ in range(streams)]
            open_streams = asyncio.ensure_future(at_once(port, requests, spread_seconds=4))
            # Until all are admitted.
            await asyncio.sleep(6)
            before = await counts(site.server, AGENT.database)
            await asyncio.sleep(seconds)
            after = await counts(site.server, AGENT.database)
            open_streams.cancel()
            return (after[0] - before[0]) / seconds

        return uvloop.run(work())
