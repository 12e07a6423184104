"""The printed report of a play."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import quantiles

from tests.chaos.checker import unknown
from tests.chaos.findings import Finding
from tests.chaos.fleet import Fleet
from tests.chaos.record import Record
from tests.chaos.saboteur import Saboteur, Victim


@dataclass
class Report:
    """One line per invariant, and whether all held."""

    lines: list[str]
    is_sound: bool


def make_report(
    seed: int,
    findings: Sequence[Finding],
    record: Record,
    fleet: Fleet,
    saboteur: Saboteur,
    cuts: int,
) -> Report:
    """The report: what was done, what became of the runs, all findings. `cuts`: how often a client was cut off."""
    broken = sum(len(finding.cases) for finding in findings)
    verdict = f"FAILED, {broken} broken" if broken else "ok"
    acts = ", ".join(f"{number} {how}" for how, number in sorted(saboteur.acts.items()))
    in_runner = [record.runs[run]["agent"] for run, _ in fleet.started("runner")]
    return Report(
        [
            f"seed {seed}: {acts}, {cuts} clients cut off",
            _counts("runs started", (run["agent"] for run in record.runs.values())),
            _counts("runs finished", (run["status"] for run in record.runs.values())),
            _counts("attempts in the runner", in_runner),
            *map(str, findings),
            _line("effects recorded as unknown", unknown(record)),
            *_recovery(saboteur.victims),
            f"chaos: {verdict}",
        ],
        not broken,
    )


def _line(name: str, value: object) -> str:
    return f"{name:<36} {value}"


def _counts(name: str, values: Iterable[str]) -> str:
    """The number of values, and of each kind of them."""
    counts: Mapping[str, int] = Counter(values)
    kinds = ", ".join(f"{number} {kind}" for kind, number in sorted(counts.items()))
    return _line(name, f"{sum(counts.values())}: {kinds}")


def _recovery(victims: Sequence[Victim]) -> list[str]:
    """How long runs whose process was killed were without one: where nothing else was broken meanwhile, and at most."""
    recovered = [(v.recovered_after, v) for v in victims if v.recovered_after is not None]
    alone = [seconds for seconds, victim in recovered if not victim.is_hit_twice]
    if len(alone) < 2:
        return []
    cuts = quantiles(alone, n=100, method="inclusive")
    longest, last = max(recovered, key=lambda one: one[0])
    return [
        _line(
            "recovery after SIGKILL",
            f"p50 {cuts[49]:.2f} s, p99 {cuts[98]:.2f} s, of {len(alone)}",
        ),
        _line("slowest, also with further acts", f"{longest:.2f} s, {last.run}"),
    ]
