"""What a run costs in the database: statements and commits, and what open streams add to them."""

import asyncio
from functools import partial
from time import monotonic, sleep

import uvloop

from bench.contenders import AGENT, NAIVE_POSTGRES, Contender
from bench.counting import counts, without_vacuum
from bench.load import at_once, in_turn
from bench.peers import DURABLE
from bench.rounds import Effort, attempts, rounds
from bench.rows import Row, limit, ratio
from bench.rows.streaming import expect_whole, warm_up
from bench.site import Site

_STATEMENTS, _COMMITS = 4, 3
#: What a run leaves behind is written by then.
_SETTLE_SECONDS = 1.5


def statements(site: Site, effort: Effort) -> Row:
    """Statements and writing transactions of one text run, without those of the same time in idleness."""
    contenders = (AGENT, NAIVE_POSTGRES, *effort.of(DURABLE))
    runs = effort.pick(50, 100)
    with without_vacuum(site.server):
        found = rounds(
            site, contenders, lambda site, each: _per_run(site, each, runs), effort.rounds(1, 2)
        )
    goals = [
        limit(found, "agent statements", _STATEMENTS, label="statements"),
        limit(found, "agent commits", _COMMITS, label="commits"),
    ]
    return Row("statements and commits per text run", "", found, goals)


def _per_run(site: Site, contender: Contender, runs: int) -> dict[str, float]:
    with contender.running(site) as (_, port, _):
        warm_up(site, contender, port)
        sleep(_SETTLE_SECONDS)
        began, before = monotonic(), _counts(site, contender)
        expect_whole(uvloop.run(in_turn(port, lambda _: contender.ask(site, "5x0"), runs, 1)), 5)
        sleep(_SETTLE_SECONDS)
        took, after = monotonic() - began, _counts(site, contender)
        # Pollers go on without runs, too.
        sleep(took)
        idle = _counts(site, contender)
    each = [
        (there - here - (later - there)) / runs
        for here, there, later in zip(before, after, idle, strict=True)
    ]
    return {"statements": each[0], "commits": each[1]}


def _counts(site: Site, contender: Contender) -> tuple[int, int]:
    return asyncio.run(counts(site.server, contender.database))


def statements_per_second(site: Site, effort: Effort) -> Row:
    """Statements a second while streams are open, four tokens a second each: of the process, whatever their number."""
    few, many = 1, effort.pick(100, 500)
    found = attempts({f"{n} streams": partial(_per_second, site, n) for n in (few, many)}, 1)
    goal = ratio(found, f"{many} streams", f"{few} streams", at_most=1.25, label="one stream")
    return Row("statements per second with open streams", "/s", found, [goal])


def _per_second(site: Site, streams: int, seconds: int = 8) -> float:
    with AGENT.running(site) as (_, port, _):
        warm_up(site, AGENT, port)

        async def work() -> float:
            asks = [AGENT.ask(site, f"{4 * (seconds + 10)}x250") for _ in range(streams)]
            open_streams = asyncio.ensure_future(at_once(port, asks, spread_seconds=4))
            # Until all are admitted.
            await asyncio.sleep(6)
            before = await counts(site.server, AGENT.database)
            await asyncio.sleep(seconds)
            after = await counts(site.server, AGENT.database)
            open_streams.cancel()
            return (after[0] - before[0]) / seconds

        return uvloop.run(work())
