"""What a run costs in the database, and what open streams cost in memory and time."""

import asyncio
from time import sleep

import uvloop

from bench.contenders import AGENT, NAIVE, NAIVE_POSTGRES, Contender
from bench.load import at_once, in_turn, percentile
from bench.peers import PEERS
from bench.rows import Row, Spread, Verdict, limit, rounds
from bench.rows.streaming import expect_whole, warm_up
from bench.site import Site

_STATEMENTS, _COMMITS = 4, 3
_STREAM_KB, _DELAY_MS, _STREAMS = 50, 250, 2000


def statements(site: Site, *, is_quick: bool) -> Row:
    """Statements of one text run, those of the connection's pool and its transactions included."""
    del is_quick
    found = {"agent": Spread((_per_run(site, 0),)), "agent commits": Spread((_per_run(site, 1),))}
    goals = [
        limit(f"≤ {_STATEMENTS} statements", found["agent"].middle, _STATEMENTS),
        limit(f"≤ {_COMMITS} commits", found["agent commits"].middle, _COMMITS),
    ]
    return Row("statements and commits per text run", "", found, goals)


def _per_run(site: Site, which: int, runs: int = 50) -> float:
    with AGENT.running(site) as (_, port, _):
        warm_up(site, AGENT, port)
        sleep(1.5)
        before = site.counts()[which]
        idle = site.counts()[which] - before
        before = site.counts()[which]
        expect_whole(uvloop.run(in_turn(port, lambda _: AGENT.ask(site, "5x0"), runs, 1)), 5)
        sleep(1.0)
        return (site.counts()[which] - before - idle) / runs


def statements_per_second(site: Site, *, is_quick: bool) -> Row:
    """Statements a second while streams are open, four tokens a second each: of the process, whatever their number."""
    del is_quick
    few, many = 1, 200
    found = {f"{n} streams": Spread((_per_second(site, n),)) for n in (few, many)}
    grown = found[f"{many} streams"].middle / found[f"{few} streams"].middle
    goal = Verdict("≤ 1.25 × one stream", f"{grown:.2f} ×", grown <= 1.25)
    return Row("statements per second with open streams", "/s", found, [goal])


def _per_second(site: Site, streams: int, seconds: int = 6) -> float:
    with AGENT.running(site) as (_, port, _):
        warm_up(site, AGENT, port)

        async def work() -> float:
            requests = [AGENT.ask(site, f"{4 * (seconds + 4)}x250") for _ in range(streams)]
            open_streams = asyncio.ensure_future(at_once(port, requests, spread_seconds=1))
            await asyncio.sleep(2.5)
            before = await site.counts_now()
            await asyncio.sleep(seconds)
            after = await site.counts_now()
            open_streams.cancel()
            return (after[0] - before[0]) / seconds

        return uvloop.run(work())


def memory(site: Site, *, is_quick: bool) -> Row:
    """Memory of one open stream that says a token a second: what 500 of them add, over 500."""
    streams = 200 if is_quick else 500

    def measure(site: Site, contender: Contender) -> float:
        with contender.running(site) as (process, port, _):
            warm_up(site, contender, port)
            before = process.pss_mb()

            async def work() -> float:
                requests = [contender.ask(site, "30x1000") for _ in range(streams)]
                open_streams = asyncio.ensure_future(at_once(port, requests, spread_seconds=3))
                await asyncio.sleep(8)
                grown = process.pss_mb() - before
                open_streams.cancel()
                return grown * 1024 / streams

            return uvloop.run(work())

    contenders = (AGENT, NAIVE, NAIVE_POSTGRES, *(() if is_quick else PEERS))
    found = rounds(site, contenders, measure, 1 if is_quick else 3)
    goal = limit(f"≤ {_STREAM_KB} KB", found["agent"].middle, _STREAM_KB, " KB")
    return Row("memory per open idle stream", "KB", found, [goal])


def two_thousand(site: Site, *, is_quick: bool) -> Row:
    """2,000 streams in one process, a token a second each: how late a token comes, and whether all do."""
    del is_quick
    with AGENT.running(site) as (process, port, _):
        warm_up(site, AGENT, port)
        requests = [AGENT.ask(site, "20x1000") for _ in range(_STREAMS)]
        before = process.cpu_ms()
        answers = uvloop.run(at_once(port, requests, stamps=True, spread_seconds=8))
        spent = process.cpu_ms() - before
    broken = sum(answer.status != 200 or answer.tokens != 20 for answer in answers)
    delays = [delay for answer in answers for delay in answer.delays_ms]
    found = {
        "delay p50": Spread((percentile(delays, 0.5),)),
        "delay p99": Spread((percentile(delays, 0.99),)),
    }
    goals = [
        limit("no errors", broken, 0),
        limit(f"p99 ≤ {_DELAY_MS} ms", found["delay p99"].middle, _DELAY_MS, " ms"),
    ]
    notes = [f"CPU {spent / 1000:.1f} s for {sum(a.tokens for a in answers)} text events"]
    return Row("2,000 streams in one process", "ms", found, goals, notes)
