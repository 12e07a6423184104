"""The cost of a relayed token, the tokens that one core can relay, and the added delay of the first one."""

import uvloop

from bench import NotMeasured
from bench.contenders import AGENT, NAIVE, NAIVE_POSTGRES, PASSTHROUGH, Contender
from bench.load import Answer, at_once, in_turn, middle, percentile
from bench.machine import Process
from bench.peers import DURABLE
from bench.rounds import Effort, rounds
from bench.rows import Results, Row, Verdict, best, ratio
from bench.site import Site

_THOUSAND = 1000
_DURABLE = [peer.name for peer in DURABLE]


def paced(site: Site, effort: Effort) -> Row:
    """CPU per 1,000 text events, one every 25 ms, 100 streams."""
    prompt = effort.pick("120x25", "240x25")

    def measure(site: Site, contender: Contender) -> float:
        with contender.running(site) as (process, port, _):
            return _cpu_per_thousand(site, contender, process, port, prompt, 100)

    contenders = (PASSTHROUGH, AGENT, NAIVE, NAIVE_POSTGRES, *effort.of())
    results = rounds(site, contenders, measure, effort.rounds(2, 3))
    goals = [ratio(results, "assistant", "naive", at_most=0.3)]
    if effort.of():
        label = "best durable peer"
        goals.append(ratio(results, "assistant", best(results, _DURABLE), at_most=0.2, label=label))
    return Row("CPU per 1,000 text events, paced", "ms", results, goals)


def flat_out(site: Site, effort: Effort) -> Row:
    """Text events per CPU second of one core, with 50 streams and a model without pauses."""
    prompt = "600x0"

    def measure(site: Site, contender: Contender) -> float:
        with contender.running(site) as (process, port, _):
            ms = _cpu_per_thousand(site, contender, process, port, prompt, 50)
            return _THOUSAND * 1000 / ms

    contenders = (PASSTHROUGH, AGENT, NAIVE, NAIVE_POSTGRES, *effort.of())
    results = rounds(site, contenders, measure, effort.rounds(2, 3))
    goal = ratio(results, "assistant", "naive", at_least=5)
    return Row("text events through one core, flat out", "events/s", results, [goal])


def _cpu_per_thousand(
    site: Site, contender: Contender, process: Process, port: int, prompt: str, streams: int
) -> float:
    warm_up(site, contender, port)
    requests = [contender.request(site, prompt) for _ in range(streams)]
    before = process.cpu_ms()
    answers = uvloop.run(at_once(port, requests, spread_seconds=0.5))
    cpu_used = process.cpu_ms() - before
    tokens = int(prompt.partition("x")[0])
    expect_whole(answers, tokens)
    return cpu_used * _THOUSAND / (streams * tokens)


def warm_up(site: Site, contender: Contender, port: int) -> None:
    """Send requests until imports are done and caches are filled."""
    answers = uvloop.run(in_turn(port, lambda _: contender.request(site, "20x0"), 12, 2))
    expect_whole(answers, 20)


def expect_whole(answers: list[Answer], tokens: int) -> None:
    """Check that no text is lost. Some servers repeat the whole text at the end, so multiples are allowed.

    Raises:
        NotMeasured: a response is not complete.
    """
    incomplete = [
        answer
        for answer in answers
        if answer.status != 200 or answer.tokens < tokens or answer.tokens % tokens
    ]
    if incomplete:
        worst = incomplete[0]
        raise NotMeasured(
            f"{len(incomplete)} of {len(answers)} responses are not complete: status {worst.status},"
            f" {worst.tokens} of {tokens} tokens {worst.body[:120].decode(errors='replace')}"
        )


def first_token(site: Site, effort: Effort) -> Row:
    """Milliseconds by which the first token is later than the model's, one request at a time."""
    contenders = (AGENT, NAIVE, NAIVE_POSTGRES, *effort.of())
    results = rounds(site, contenders, _added_first, effort.rounds(2, 3))
    goals = [_not_above(results, share) for share in ("p50", "p99")]
    return Row("time to first token, added", "ms", results, goals)


def _not_above(results: Results, share: str) -> Verdict:
    theirs = f"naive+postgres {share}"
    return ratio(results, f"assistant {share}", theirs, at_most=1)


def _added_first(site: Site, contender: Contender) -> dict[str, float]:
    with contender.running(site) as (_, port, _):
        warm_up(site, contender, port)
        through = uvloop.run(in_turn(port, lambda _: contender.request(site, "1x0"), 300, 1))
        direct = uvloop.run(
            in_turn(site.model_port, lambda _: PASSTHROUGH.request(site, "1x0"), 300, 1)
        )
    expect_whole(through, 1)
    firsts = [answer.first_ms for answer in through]
    itself = middle([answer.first_ms for answer in direct])
    return {"p50": middle(firsts) - itself, "p99": percentile(firsts, 0.99) - itself}


def one_token_runs(site: Site, effort: Effort) -> Row:
    """Runs per CPU second of one core: one-token answers, 16 at a time."""
    runs = effort.pick(300, 400)

    def measure(site: Site, contender: Contender) -> float:
        with contender.running(site) as (process, port, _):
            warm_up(site, contender, port)
            before = process.cpu_ms()
            answers = uvloop.run(in_turn(port, lambda _: contender.request(site, "1x0"), runs, 16))
            cpu_used = process.cpu_ms() - before
            expect_whole(answers, 1)
            return runs * 1000 / cpu_used

    contenders = (AGENT, NAIVE, NAIVE_POSTGRES, *effort.of())
    results = rounds(site, contenders, measure, effort.rounds(2, 3))
    goals = [ratio(results, "assistant", "naive+postgres", at_least=1.2)]
    if effort.of():
        label = "best durable peer"
        goals.append(
            ratio(results, "assistant", best(results, _DURABLE, max), at_least=3, label=label)
        )
    return Row("runs, one-token answers, one core", "runs/s", results, goals)
