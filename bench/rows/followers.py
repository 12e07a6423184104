"""Clients that follow runs of another process: their cost in the process that serves them."""

import asyncio
import json
from functools import partial
from uuid import uuid4

import uvloop

from bench.contenders import AGENT, JSON
from bench.counting import counts
from bench.load import open_streams, request
from bench.machine import OTHER_CORE, Process
from bench.rounds import Effort, attempts
from bench.rows import Row, ratio
from bench.rows.streaming import warm_up
from bench.site import Site

_RUNS = 20
_FEW, _MANY = 20, 500
_LANES = 8
#: One keep-alive interval, so that each follower gets one line, whenever the measurement starts.
_SECONDS = 15
#: Silent: one token, so that only the tick's cost remains. Speaking: a token a second, which adds the cost of events.
_PROMPTS = {"silent": "2x600000", "speaking": "60x1000"}


def followers(site: Site, _: Effort) -> Row:
    """Statements and CPU of a process through which 20 and then 500 clients follow 20 runs of another process."""
    measures = {
        f"{count} of {kind}": partial(_beside, site, count, prompt)
        for kind, prompt in _PROMPTS.items()
        for count in (_FEW, _MANY)
    }
    results = attempts(measures, 1)
    goals = [
        ratio(
            results,
            f"{_MANY} of {kind} {figure}",
            f"{_FEW} of {kind} {figure}",
            at_most=1.25,
            label=f"{_FEW} followers ({figure}, {kind} runs)",
        )
        for kind, figure in (
            ("silent", "queries/s"),
            ("speaking", "queries/s"),
            ("silent", "CPU ms/s"),
        )
    ]
    return Row("followers of other processes' runs", "", results, goals)


def _beside(site: Site, count: int, prompt: str) -> dict[str, float]:
    elsewhere = AGENT.running(site, core=OTHER_CORE)
    with elsewhere as (_, holder, _), AGENT.running(site) as (process, port, _):
        warm_up(site, AGENT, holder)
        warm_up(site, AGENT, port)
        return uvloop.run(_measure(site, holder, port, process, count, prompt))


async def _measure(
    site: Site, holder: int, port: int, process: Process, count: int, prompt: str
) -> dict[str, float]:
    names = [str(uuid4()) for _ in range(_RUNS)]
    runs = await open_streams(holder, [_start(site, name, prompt) for name in names], _LANES)
    # By then, the runs have written what their starts take.
    await asyncio.sleep(2)
    alone, _ = await _load(site, process)
    requests = [_follow(site, names[nth % _RUNS]) for nth in range(count)]
    following = await open_streams(port, requests, _LANES)
    # By then, all followers have received the events so far.
    await asyncio.sleep(2)
    together, cpu = await _load(site, process)
    for stream in (*following, *runs):
        stream.close()
    return {"queries/s": together - alone, "CPU ms/s": cpu}


async def _load(site: Site, process: Process) -> tuple[float, float]:
    """Statements per second of both processes, and CPU of this one."""
    before, cpu = await counts(site.server, AGENT.database), process.cpu_ms()
    await asyncio.sleep(_SECONDS)
    after, cpu_used = await counts(site.server, AGENT.database), process.cpu_ms() - cpu
    return (after[0] - before[0]) / _SECONDS, cpu_used / _SECONDS


def _start(site: Site, name: str, prompt: str) -> bytes:
    signed = site.signed("bench", "assistant", "POST", "/runs")
    message = {"id": name, "role": "user", "content": prompt}
    body = {"threadId": name, "runId": name, "messages": [message]}
    return request("POST", "/runs", json.dumps(body).encode(), {**JSON, **signed})


def _follow(site: Site, name: str) -> bytes:
    path = f"/runs/{name}/events"
    return request("GET", path, b"", site.signed("bench", "assistant", "GET", path))
