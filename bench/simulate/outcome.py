"""What a simulated day cost, and how long its requests waited."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from statistics import median

#: From a pod's creation to its end.
Span = tuple[float, float]


@dataclass
class Outcome:
    """The pods of a day, and the seconds that each request waited for one."""

    spans: list[Span] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    #: Of these, the waits of requests that arrived when there was no ready pod.
    cold_waits: list[float] = field(default_factory=list)
    #: The most requests in one pod at once.
    fullest: int = 0

    @property
    def pod_seconds(self) -> float:
        """With the time in which pods start and terminate."""
        return sum(end - start for start, end in self.spans)

    @property
    def peak(self) -> int:
        return max((count for _, count in steps(self.spans)), default=0)

    @property
    def cold_share(self) -> float:
        return len(self.cold_waits) / len(self.waits) if self.waits else 0.0

    @property
    def cold_median(self) -> float:
        return median(self.cold_waits) if self.cold_waits else 0.0

    @property
    def longest_wait(self) -> float:
        return max(self.waits, default=0.0)

    @property
    def late(self) -> int:
        """How many requests waited."""
        return sum(wait > 0 for wait in self.waits)


def together(outcomes: Iterable[Outcome]) -> Outcome:
    """Several functions of one cluster as one."""
    total = Outcome()
    for each in outcomes:
        total.spans += each.spans
        total.waits += each.waits
        total.cold_waits += each.cold_waits
        total.fullest = max(total.fullest, each.fullest)
    return total


def steps(spans: Sequence[Span]) -> list[tuple[float, int]]:
    """How many pods there were from which time on."""
    changes: Counter[float] = Counter()
    for start, end in spans:
        changes[start] += 1
        changes[end] -= 1
    times = sorted(changes)
    return list(zip(times, accumulate(changes[at] for at in times), strict=True))
