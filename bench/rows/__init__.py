"""The rows of the table: each measures some contenders in turn, A B A B, and says what it found."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from bench.contenders import Contender
from bench.site import Site


@dataclass(frozen=True)
class Spread:
    """One contender's figure: the median of its rounds, with the least and the most."""

    values: tuple[float, ...]

    @property
    def middle(self) -> float:
        return median(self.values)

    def __str__(self) -> str:
        return f"{self.middle:.4g} ({min(self.values):.4g}–{max(self.values):.4g})"


@dataclass(frozen=True)
class Verdict:
    """A goal, and whether it was met."""

    goal: str
    found: str
    is_met: bool


@dataclass(frozen=True)
class Row:
    """What was measured: a figure of each contender in one unit, and the goals it is held against."""

    name: str
    unit: str
    figures: Mapping[str, Spread]
    verdicts: Sequence[Verdict] = ()
    notes: Sequence[str] = field(default_factory=tuple)


def ratio(
    name: str, ours: Spread, theirs: Spread, *, at_most: float = 0, at_least: float = 0
) -> Verdict:
    """Our figure over theirs, against a limit."""
    found = ours.middle / theirs.middle if theirs.middle else float("inf")
    goal = f"≤ {at_most:g} × {name}" if at_most else f"≥ {at_least:g} × {name}"
    is_met = found <= at_most if at_most else found >= at_least
    return Verdict(goal, f"{found:.2f} ×", is_met)


def limit(goal: str, found: float, at_most: float, unit: str = "") -> Verdict:
    """A figure against a limit."""
    return Verdict(goal, f"{found:.4g}{unit}", found <= at_most)


Measure = Callable[[Site, Contender], float]


def rounds(
    site: Site, contenders: Sequence[Contender], measure: Measure, count: int
) -> dict[str, Spread]:
    """Measure each in turn, and again: what the machine does meanwhile, it does to all of them."""
    found: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    for contender in contenders:
        contender.install()
    for _ in range(count):
        for contender in contenders:
            found[contender.name].append(measure(site, contender))
    return {name: Spread(tuple(values)) for name, values in found.items()}
