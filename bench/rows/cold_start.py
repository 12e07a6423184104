"""From exec to ready, and what the first request costs once it is."""

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
from bench.rows import Row, Spread, Verdict, limit, ratio, rounds
from bench.site import Site

_GOALS = {"threads": 1.3, "tools": 1.3, "agent": 1.5, "runner": 1.5}
_FIRST_MS = 40.0


def exec_to_ready(site: Site, *, is_quick: bool) -> Row:
    """Milliseconds from exec to the first 200 of the ready endpoint, database check included, page cache warm."""
    peers = () if is_quick else DURABLE
    ours = (AGENT, RUNNER, THREADS, TOOLS)
    found = rounds(
        site, (HELLO, *ours, NAIVE, NAIVE_POSTGRES, *peers), _ready, 5 if is_quick else 7
    )
    verdicts = [
        ratio(f"hello ({name})", found[name], found["hello"], at_most=most)
        for name, most in _GOALS.items()
    ]
    return Row("exec → ready", "ms", found, [*verdicts, *_against_peers(found, "agent", 0.25)])


def _ready(site: Site, contender: Contender) -> float:
    with contender.running(site) as (_, _, ms):
        return ms


def _against_peers(found: dict[str, Spread], ours: str, most: float) -> list[Verdict]:
    there = [found[peer.name] for peer in DURABLE if peer.name in found]
    if not there:
        return []
    fastest = min(there, key=lambda spread: spread.middle)
    return [ratio("the fastest durable peer", found[ours], fastest, at_most=most)]


def first_request(site: Site, *, is_quick: bool) -> Row:
    """CPU of the first request after ready, the model's answer included, over that of the tenth."""
    found = rounds(site, (AGENT, NAIVE, NAIVE_POSTGRES), _first_over_tenth, 3 if is_quick else 5)
    goal = limit(f"≤ {_FIRST_MS:g} ms", found["agent"].middle, _FIRST_MS, " ms")
    return Row("first request over the tenth", "ms CPU", found, [goal])


def _first_over_tenth(site: Site, contender: Contender) -> float:
    with contender.running(site) as (process, port, _):
        ask = partial(contender.ask, site)
        # The first pause lets what is loaded behind readiness come to its end, as a kubelet's next look does.
        sleep(1.5)
        spent = []
        for _ in range(10):
            before = process.cpu_ms()
            uvloop.run(in_turn(port, lambda _: ask("1x0"), 1, 1))
            spent.append(process.cpu_ms() - before)
        return spent[0] - spent[-1]
