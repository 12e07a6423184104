"""The time from exec to ready, and the cost of the first request after it."""

from functools import partial
from time import sleep

import uvloop

from bench.contenders import (
    AGENT,
    HELLO,
    NAIVE,
    NAIVE_POSTGRES,
    RUNNER,
    THREADS,
    TOOLS,
    Contender,
)
from bench.load import in_turn
from bench.peers import DURABLE
from bench.rounds import Effort, progress, rounds
from bench.rows import Row, best, limit, ratio
from bench.site import Site

_GOALS = {"threads": 1.3, "tools": 1.3, "assistant": 1.5, "runner": 1.5}
_FIRST_MS = 40.0


def exec_to_ready(site: Site, effort: Effort) -> Row:
    """Milliseconds from exec to the first 200 of the ready endpoint, database check included, page cache warm."""
    ours = (AGENT, RUNNER, THREADS, TOOLS)
    contenders = (HELLO, *ours, NAIVE, NAIVE_POSTGRES, *effort.of(DURABLE))
    # Only the first start of many contenders creates their tables and compiles modules.
    progress("  first starts, not counted")
    rounds(site, contenders, _ready, 1)
    results = rounds(site, contenders, _ready, effort.rounds(5, 7))
    goals = [
        ratio(results, name, "hello", at_most=most, label=f"hello ({name})")
        for name, most in _GOALS.items()
    ]
    if peers := effort.of(DURABLE):
        fastest = best(results, [peer.name for peer in peers])
        goals += [
            ratio(
                results,
                each.name,
                fastest,
                at_most=0.25,
                label=f"fastest durable peer ({each.name})",
            )
            for each in ours
        ]
    return Row("exec → ready", "ms", results, goals)


def _ready(site: Site, contender: Contender) -> float:
    with contender.running(site) as (_, _, ms):
        return ms


def first_request(site: Site, effort: Effort) -> Row:
    """CPU of the first request after ready, with the model's answer, minus that of the tenth."""
    contenders = (AGENT, NAIVE, NAIVE_POSTGRES)
    results = rounds(site, contenders, _first_over_tenth, effort.rounds(3, 7))
    goal = limit(results, "assistant", _FIRST_MS, "ms")
    return Row("first request over the tenth", "ms CPU", results, [goal])


def _first_over_tenth(site: Site, contender: Contender) -> float:
    with contender.running(site) as (process, port, _):
        request = partial(contender.request, site)
        # A pause for modules that load after readiness; in a cluster, the kubelet's next probe gives that time.
        sleep(1.5)
        cpu_times = []
        for _ in range(10):
            before = process.cpu_ms()
            uvloop.run(in_turn(port, lambda _: request("1x0"), 1, 1))
            cpu_times.append(process.cpu_ms() - before)
        return cpu_times[0] - cpu_times[-1]
