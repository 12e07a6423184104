"""Clients of runs that live in another process: what any number of them costs the one that serves them."""

import asyncio
import json

import uvloop

from bench.contenders import AGENT
from bench.load import at_once, request
from bench.machine import OTHER_CORE, Process
from bench.rows import Row, Spread, Verdict
from bench.rows.streaming import warm_up
from bench.site import Site

_RUNS = 20
_FEW, _MANY = 20, 500


def followers(site: Site, *, is_quick: bool) -> Row:
    """Statements a second of a process that 20 and then 500 clients follow 20 runs through, which live elsewhere."""
    del is_quick
    elsewhere = AGENT.running(site, core=OTHER_CORE)
    with elsewhere as (_, holder, _), AGENT.running(site) as (process, port, _):
        warm_up(site, AGENT, holder)
        warm_up(site, AGENT, port)
        seen = [uvloop.run(_watch(site, holder, port, process, n)) for n in (_FEW, _MANY)]
    (few, few_cpu), (many, many_cpu) = seen
    found = {
        f"{_FEW} followers": Spread((few,)),
        f"{_MANY} followers": Spread((many,)),
        f"CPU %, {_FEW}": Spread((few_cpu,)),
        f"CPU %, {_MANY}": Spread((many_cpu,)),
    }
    grown = many / few
    goals = [Verdict("queries do not grow", f"{grown:.2f} ×", grown <= 1.25)]
    return Row("followers of other processes' runs, statements", "/s", found, goals)


async def _watch(
    site: Site, holder: int, port: int, process: Process, followers: int
) -> tuple[float, float]:
    names = [f"run-{followers}-{nth}" for nth in range(_RUNS)]
    runs = [_start(site, name) for name in names]
    holding = asyncio.ensure_future(at_once(holder, runs))
    await asyncio.sleep(1)
    before_any = await site.counts_now()
    await asyncio.sleep(3)
    alone = (await site.counts_now())[0] - before_any[0]
    asks = [_follow(site, names[nth % _RUNS]) for nth in range(followers)]
    following = asyncio.ensure_future(at_once(port, asks, spread_seconds=1))
    await asyncio.sleep(3)
    before, cpu = await site.counts_now(), process.cpu_ms()
    await asyncio.sleep(5)
    after, spent = await site.counts_now(), process.cpu_ms() - cpu
    for task in (following, holding):
        task.cancel()
    return (after[0] - before[0]) / 5 - alone / 3, spent / 50


def _start(site: Site, name: str) -> bytes:
    signed = site.signed("bench", "agent", "POST", "/runs")
    message = {"id": name, "role": "user", "content": "30x1000"}
    body = {"threadId": name, "runId": name, "messages": [message]}
    headers = {"content-type": "application/json", **signed}
    return request("POST", "/runs", json.dumps(body).encode(), headers)


def _follow(site: Site, name: str) -> bytes:
    path = f"/runs/{name}/events"
    return request("GET", path, b"", site.signed("bench", "agent", "GET", path))
