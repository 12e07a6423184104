"""The tables of docs/scale.md."""

from collections.abc import Iterable, Iterator, Sequence
from statistics import mean
from typing import Final

from bench.simulate.outcome import Outcome
from bench.simulate.rules import Rules, shipped
from bench.simulate.settings import GOAL, Tried, compared, knative, proposed, relative
from bench.simulate.traces import Chat, Trace, idle_chat

_TOTALS: Final = (20, 40, 60, 80, 90, 120, 150, 180)


def costs(trace: Trace) -> Iterator[str]:
    """A line for each setting: what a day costs, and how long its requests wait."""
    for name, outcome in compared(trace):
        yield _line((trace.name, name, *_cells(outcome, trace)))


HEADER: Final = (
    "| trace | setting | pod-seconds | of two replicas | pods: mean, most | cold starts | their wait, s "
    "| other waits | longest, s | fullest pod |\n|---|---|---|---|---|---|---|---|---|---|"
)


def _cells(outcome: Outcome, trace: Trace) -> Iterable[str]:
    cold = len(outcome.cold_waits)
    yield f"{outcome.pod_seconds:,.0f}"
    yield f"{relative(outcome, trace):.3g} ×"
    yield f"{outcome.pod_seconds / 86_400:.2f}, {outcome.peak}"
    yield f"{cold} ({outcome.cold_share:.1%})" if cold else "0"
    yield f"{outcome.cold_median:.1f}" if cold else ""
    yield str(outcome.late - cold)
    yield f"{outcome.longest_wait:.1f}"
    yield str(outcome.fullest)


def by_total(tried: Sequence[Tried], requests: int) -> Iterator[str]:
    """A line for each time to zero: windows that add up to the same time cost the same."""
    yield "| to zero, s | of two replicas | goal | cold starts | their share |\n|---|---|---|---|---|"
    for total in _TOTALS:
        same = [each for each in tried if each.to_zero == total]
        costs, colds = [each.relative for each in same], [each.cold_starts for each in same]
        met = "met" if max(costs) <= GOAL else "missed"
        share = f"{min(colds) / requests:.0%}"
        cells = (f"{total}", _range(costs, ".3f"), met, _range(colds, ".0f"), share)
        yield _line(cells)


def _range(values: Sequence[float], form: str) -> str:
    least, most = f"{min(values):{form}}", f"{max(values):{form}}"
    return least if least == most else f"{least}–{most}"


def sensitivity() -> Iterator[str]:
    """A line for each other idea of an idle-heavy chat."""
    days = {
        "as above, ten seeds": [idle_chat(seed) for seed in range(1, 11)],
        "chats within 16 hours": [idle_chat(seed, hours=16) for seed in range(1, 11)],
        "chats within 10 hours": [idle_chat(seed, hours=10) for seed in range(1, 11)],
        "gaps: spread 0.5": [idle_chat(seed, chat=Chat(spread=0.5)) for seed in range(1, 11)],
        "gaps: spread 1.5": [idle_chat(seed, chat=Chat(spread=1.5)) for seed in range(1, 11)],
        "answers of 30 s": [idle_chat(seed, chat=Chat(answer=30)) for seed in range(1, 11)],
        "half as many chats": [idle_chat(seed, chats=40) for seed in range(1, 11)],
    }
    yield "| the same, but | shipped | cold starts | proposed | cold starts |\n|---|---|---|---|---|"
    rules = shipped("assistant")
    for name, traces in days.items():
        yield _line((name, *_spread(traces, rules), *_spread(traces, proposed(rules))))


def _spread(traces: Sequence[Trace], rules: Rules) -> tuple[str, str]:
    outcomes = [knative(trace, rules) for trace in traces]
    costs = [relative(*pair) for pair in zip(outcomes, traces, strict=True)]
    colds = [each.cold_share * 100 for each in outcomes]
    return f"{mean(costs):.3f} ({_range(costs, '.3f')})", f"{mean(colds):.0f} %"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
