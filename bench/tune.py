"""`python -m bench.tune`: measure the load that one pod of each function serves within the latency goal.

A pod is one process with one core, as in the manifests. The load is raised until the goal is missed. `capacity.json`
has the steps, and two numbers computed from the last good one: two thirds of it as `containerConcurrency`, the pod's
hard limit, and half of it as the autoscaler's `target`, because streams arrive unevenly and a start takes a second or
two.
"""

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from time import monotonic
from typing import Final

import asyncpg
import uvloop

from bench.contenders import AGENT, RUNNER, THREADS, TOOLS, Contender, run_input
from bench.load import Answer, at_once, in_turn, percentile, request
from bench.machine import OTHER_CORE, Process
from bench.rows.streaming import warm_up
from bench.site import Site, site
from local.environment import ROOT
from shared.auth import Minter

FILE: Final = ROOT / "bench" / "capacity.json"
_GOAL_MS: Final = 250.0
_BUSY_PERCENT: Final = 85.0
_MEMORY_MB: Final = 768.0
_STEPS: Final = (10, 25, 50, 75, 100, 150, 200, 300, 400, 500)
#: Twenty tokens a second, as of a fast model.
_SECONDS, _PAUSE_MS = 8, 50


@dataclass(frozen=True)
class Step:
    """One load and its effect on the pod. `p99_ms`: the delay of an event or a response."""

    load: int
    p99_ms: float
    cpu_percent: float
    memory_mb: float
    failed: int
    #: Whether the load has its own pace. Clients that send the next request at once use all CPU at any load.
    is_paced: bool

    @property
    def is_good(self) -> bool:
        """Whether all requests succeeded in time, with CPU and memory to spare."""
        has_room = self.cpu_percent <= _BUSY_PERCENT or not self.is_paced
        is_small = self.memory_mb <= _MEMORY_MB
        return self.p99_ms <= _GOAL_MS and has_room and is_small and not self.failed


Load = Callable[[Site, Process, int, int], Step]


def streams(site: Site, process: Process, port: int, load: int) -> Step:
    """Open streams, each with twenty tokens a second."""
    tokens = _SECONDS * 1000 // _PAUSE_MS
    requests = [AGENT.request(site, f"{tokens}x{_PAUSE_MS}") for _ in range(load)]
    return _measure(
        process,
        load,
        lambda: uvloop.run(at_once(port, requests, stamps=True, spread_seconds=2)),
        lambda answer: answer.delays_ms,
        lambda answer: answer.tokens == tokens,
    )


def pages(site: Site, process: Process, port: int, load: int) -> Step:
    """Concurrent requests for a page of threads."""

    def make(_: int) -> bytes:
        return request("GET", "/threads", b"", site.signed("bench", "threads", "GET", "/threads"))

    return _measure_requests(process, port, load, make)


def calls(site: Site, process: Process, port: int, load: int) -> Step:
    """Concurrent calls of a tool that reads the database."""
    minter = Minter("assistant", site.keys.internal.private_text)
    token = minter.mint("tools", site.users["bench"].claims, None)
    version = "2025-11-25"
    call = {"name": "list_notes", "arguments": {}}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}).encode()
    headers = {
        "authorization": f"Bearer {token}",
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
        "mcp-protocol-version": version,
    }
    return _measure_requests(process, port, load, lambda _: request("POST", "/mcp", body, headers))


def _measure_requests(process: Process, port: int, load: int, make: Callable[[int], bytes]) -> Step:
    uvloop.run(in_turn(port, make, 50, 2))
    return _measure(
        process,
        load,
        lambda: uvloop.run(in_turn(port, make, load * 20, load)),
        lambda answer: [answer.total_ms],
        lambda _: True,
        is_paced=False,
    )


def _measure(
    process: Process,
    load: int,
    work: Callable[[], Sequence[Answer]],
    delays: Callable[[Answer], Sequence[float]],
    is_whole: Callable[[Answer], bool],
    *,
    status: int = 200,
    is_paced: bool = True,
) -> Step:
    started_at, before = monotonic(), process.cpu_ms()
    answers = work()
    busy = (process.cpu_ms() - before) / (monotonic() - started_at) / 10
    delays_ms = [delay for answer in answers for delay in delays(answer)]
    failed = sum(answer.status != status or not is_whole(answer) for answer in answers)
    p99, memory = round(percentile(delays_ms, 0.99), 1), round(process.pss_mb())
    return Step(load, p99, round(busy, 1), memory, failed, is_paced)


def runs(site: Site, process: Process, port: int, load: int) -> Step:
    """Concurrent runs, each in its delivery. The delay is the time by which a run ends after its model."""
    tokens = _SECONDS * 1000 // _PAUSE_MS
    # Another process admits them; its own deliveries go nowhere.
    with AGENT.running(site, core=OTHER_CORE, K_SINK="http://127.0.0.1:9/") as (_, agent, _):
        warm_up(site, AGENT, agent)
        requests = [_background(site, f"{tokens}x{_PAUSE_MS}") for _ in range(load)]
        expect(uvloop.run(at_once(agent, requests, spread_seconds=2)), 202)
    waiting = uvloop.run(_newest(site, load))
    return _measure(
        process,
        load,
        lambda: uvloop.run(at_once(port, [_event(run) for run in waiting], spread_seconds=2)),
        lambda answer: [answer.total_ms - _SECONDS * 1000],
        lambda _: True,
        status=204,
    )


def expect(answers: Sequence[Answer], status: int) -> None:
    """Exit if a response has another status: refused requests measure nothing."""
    if statuses := [answer.status for answer in answers if answer.status != status]:
        raise SystemExit(f"{len(statuses)} of {len(answers)} have status {statuses[0]}")


def _background(site: Site, prompt: str) -> bytes:
    signed = site.signed("bench", "assistant", "POST", "/runs")
    body = run_input(prompt, forwardedProps={"background": True})
    return request("POST", "/runs", body, {"content-type": "application/json", **signed})


def _event(run_id: str) -> bytes:
    event = {"ce-specversion": "1.0", "ce-id": run_id, "ce-source": "/bench"}
    headers = {**event, "ce-type": "agent.run.waiting", "content-type": "application/json"}
    return request("POST", "/", json.dumps({"run_id": run_id}).encode(), headers)


async def _newest(site: Site, count: int) -> list[str]:
    connection = await asyncpg.connect(site.server.url("postgres"))
    try:
        rows = await connection.fetch(
            "select id::text from agent.run order by created_at desc limit $1", count
        )
        return [row[0] for row in rows]
    finally:
        await connection.close()


#: By the kinds of functions/functions.json.
WORK: Final[dict[str, tuple[Contender, Load, str]]] = {
    "agent": (AGENT, streams, "open streams"),
    "threads": (THREADS, pages, "requests"),
    "tools": (TOOLS, calls, "calls"),
    "runner": (RUNNER, runs, "live runs"),
}


def tune(site: Site, name: str) -> dict[str, object]:
    """One function's capacity, with the measured steps."""
    contender, work, unit = WORK[name]
    steps: list[Step] = []
    for load in _STEPS:
        with contender.running(site) as (process, port, _):
            if name == "agent":
                warm_up(site, AGENT, port)
            steps.append(step := work(site, process, port, load))
        sys.stderr.write(
            f"  {name:<8} {load:>4} {unit:<13} p99 {step.p99_ms:7.1f} ms   CPU {step.cpu_percent:5.1f} %"
            f"   {step.memory_mb:4.0f} MB   {'ok' if step.is_good else 'too much'}\n"
        )
        if not step.is_good:
            break
    good = max((step.load for step in steps if step.is_good), default=_STEPS[0])
    numbers = {"concurrency": max(2, good * 2 // 3), "target": max(1, good // 2), "unit": unit}
    return {**numbers, "measured": [asdict(step) for step in steps]}


def main() -> int:
    """Measure all functions, or those named, and write capacity.json."""
    names = sys.argv[1:] or [*WORK]
    capacity = json.loads(FILE.read_text()) if FILE.exists() else {}
    with site() as here:
        for name in names:
            capacity[name] = tune(here, name)
    FILE.write_text(json.dumps(capacity, indent=1) + "\n")
    for name in names:
        print(
            f"{name:<8} containerConcurrency {capacity[name]['concurrency']}, target {capacity[name]['target']}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
