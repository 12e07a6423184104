"""What a relayed token costs, how many one core can relay, and how much later the first one comes."""

import uvloop

from bench.contenders import AGENT, NAIVE, NAIVE_POSTGRES, PASSTHROUGH, Contender
from bench.load import Answer, at_once, in_turn, middle, percentile
from bench.machine import Process
from bench.peers import DURABLE, PEERS
from bench.rows import Measure, Row, Spread, Verdict, ratio, rounds
from bench.site import Site

_THOUSAND = 1000


def paced(site: Site, *, is_quick: bool) -> Row:
    """CPU per 1,000 text events, one every 25 ms, 100 streams."""
    peers = () if is_quick else PEERS
    wanted = "120x25" if is_quick else "400x25"

    def measure(site: Site, contender: Contender) -> float:
        with contender.running(site) as (process, port, _):
            return _cpu_per_thousand(site, contender, process, port, wanted, 100)

    contenders = (PASSTHROUGH, AGENT, NAIVE, NAIVE_POSTGRES, *peers)
    found = rounds(site, contenders, measure, 2 if is_quick else 3)
    goals = [ratio("naive", found["agent"], found["naive"], at_most=0.3)]
    if best := _best(found):
        goals.append(ratio("the best durable peer", found["agent"], best, at_most=0.2))
    return Row("CPU per 1,000 text events, paced", "ms", found, goals)


def flat_out(site: Site, *, is_quick: bool) -> Row:
    """Text events one core relays in a second: events over CPU seconds, the model as fast as it can, 50 streams."""
    peers = () if is_quick else PEERS
    wanted = "600x0" if is_quick else "2000x0"

    def measure(site: Site, contender: Contender) -> float:
        with contender.running(site) as (process, port, _):
            ms = _cpu_per_thousand(site, contender, process, port, wanted, 50)
            return _THOUSAND * 1000 / ms

    contenders = (PASSTHROUGH, AGENT, NAIVE, NAIVE_POSTGRES, *peers)
    found = rounds(site, contenders, measure, 2 if is_quick else 3)
    goal = ratio("naive", found["agent"], found["naive"], at_least=5)
    return Row("text events through one core, flat out", "events/s", found, [goal])


def _cpu_per_thousand(
    site: Site, contender: Contender, process: Process, port: int, wanted: str, streams: int
) -> float:
    warm_up(site, contender, port)
    requests = [contender.ask(site, wanted) for _ in range(streams)]
    before = process.cpu_ms()
    answers = uvloop.run(at_once(port, requests, spread_seconds=0.5))
    spent = process.cpu_ms() - before
    tokens = int(wanted.partition("x")[0])
    expect_whole(answers, tokens)
    return spent * _THOUSAND / (streams * tokens)


def warm_up(site: Site, contender: Contender, port: int) -> None:
    """Until imports and caches are behind it."""
    answers = uvloop.run(in_turn(port, lambda _: contender.ask(site, "20x0"), 12, 2))
    expect_whole(answers, 20)


def expect_whole(answers: list[Answer], tokens: int) -> None:
    """Whoever loses text has no figure. Some say the whole text again at the end: each token so many times more."""
    broken = [
        answer
        for answer in answers
        if answer.status != 200 or answer.tokens < tokens or answer.tokens % tokens
    ]
    if broken:
        raise SystemExit(f"{len(broken)} of {len(answers)} answers are not whole: {broken[0]}")


def first_token(site: Site, *, is_quick: bool) -> Row:
    """Milliseconds that the first token comes later than from the model itself, one request at a time: p50."""
    found = rounds(site, _in_order(is_quick), _added_first(0.5), 2 if is_quick else 3)
    return Row("time to first token, added, p50", "ms", found, _not_above(found))


def first_token_p99(site: Site, *, is_quick: bool) -> Row:
    """The same, of the slowest in a hundred."""
    found = rounds(site, _in_order(is_quick), _added_first(0.99), 2 if is_quick else 3)
    return Row("time to first token, added, p99", "ms", found, _not_above(found))


def _in_order(is_quick: bool) -> tuple[Contender, ...]:
    return (AGENT, NAIVE, NAIVE_POSTGRES, *(() if is_quick else PEERS))


def _not_above(found: dict[str, Spread]) -> list[Verdict]:
    return [ratio("naive+postgres", found["agent"], found["naive+postgres"], at_most=1)]


def _added_first(share: float) -> Measure:
    def measure(site: Site, contender: Contender) -> float:
        with contender.running(site) as (_, port, _):
            warm_up(site, contender, port)
            through = uvloop.run(in_turn(port, lambda _: contender.ask(site, "1x0"), 300, 1))
            direct = uvloop.run(
                in_turn(site.model_port, lambda _: PASSTHROUGH.ask(site, "1x0"), 300, 1)
            )
            expect_whole(through, 1)
            asked = [answer.first_ms for answer in through]
            return percentile(asked, share) - middle([answer.first_ms for answer in direct])

    return measure


def one_token_runs(site: Site, *, is_quick: bool) -> Row:
    """Runs one core answers in a second: one-token answers, 16 at a time, runs over CPU seconds."""
    peers = () if is_quick else PEERS
    runs = 300 if is_quick else 1000

    def measure(site: Site, contender: Contender) -> float:
        with contender.running(site) as (process, port, _):
            warm_up(site, contender, port)
            before = process.cpu_ms()
            answers = uvloop.run(in_turn(port, lambda _: contender.ask(site, "1x0"), runs, 16))
            spent = process.cpu_ms() - before
            expect_whole(answers, 1)
            return runs * 1000 / spent

    contenders = (AGENT, NAIVE, NAIVE_POSTGRES, *peers)
    found = rounds(site, contenders, measure, 2 if is_quick else 3)
    goals = [ratio("naive+postgres", found["agent"], found["naive+postgres"], at_least=1)]
    if best := _best(found, most=True):
        goals.append(ratio("the best durable peer", found["agent"], best, at_least=3))
    return Row("runs, one-token answers, one core", "runs/s", found, goals)


def _best(found: dict[str, Spread], *, most: bool = False) -> Spread | None:
    there = [found[peer.name] for peer in DURABLE if peer.name in found]
    pick = max if most else min
    return pick(there, key=lambda spread: spread.middle) if there else None
