"""Rows of the table: the contenders' figures in one unit, and the goals that they are compared with."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median


@dataclass(frozen=True)
class Spread:
    """One figure: the median of its rounds, with minimum and maximum."""

    values: tuple[float, ...]

    @property
    def middle(self) -> float:
        return median(self.values)

    def __str__(self) -> str:
        if len(self.values) == 1:
            return f"{self.middle:.4g}"
        return f"{self.middle:.4g} ({min(self.values):.4g}–{max(self.values):.4g})"


@dataclass(frozen=True)
class Found:
    """The results: figures by contender, or by contender and figure if it has several.

    `missing`: why a contender has no figures, or fewer rounds than planned.
    """

    figures: Mapping[str, Spread] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    """A goal, the result, and whether it is met. A goal without a figure is not met."""

    goal: str
    found: str
    is_met: bool
    ours: str = ""
    theirs: str = ""


@dataclass(frozen=True)
class Row:
    """A measure with its figures and verdicts. `curves`: by label, the figure's name for each size."""

    name: str
    unit: str
    found: Found
    verdicts: Sequence[Verdict] = ()
    curves: Mapping[str, Mapping[int, str]] = field(default_factory=dict)


_NOTHING = "not measured"


def ratio(
    found: Found,
    ours: str,
    theirs: str,
    *,
    at_most: float = 0,
    at_least: float = 0,
    label: str = "",
) -> Verdict:
    """Our figure over theirs, against a limit. `label` names theirs in the goal."""
    goal = f"{f'≤ {at_most:g}' if at_most else f'≥ {at_least:g}'} × {label or theirs}"
    mine, other = found.figures.get(ours), found.figures.get(theirs)
    if mine is None or other is None or not other.middle:
        return Verdict(goal, _NOTHING, False, _shown(ours, mine), _shown(theirs, other))
    times = mine.middle / other.middle
    is_met = times <= at_most if at_most else times >= at_least
    return Verdict(goal, f"{times:.2f} ×", is_met, _shown(ours, mine), _shown(theirs, other))


def limit(found: Found, ours: str, at_most: float, unit: str = "", label: str = "") -> Verdict:
    """Our figure against a limit in its unit. `label` names the figure in the goal."""
    goal = f"{label} ≤ {at_most:g} {unit}".strip()
    mine = found.figures.get(ours)
    if mine is None:
        return Verdict(goal, _NOTHING, False)
    shown = f"{mine.middle:.4g} {unit}".strip()
    return Verdict(goal, shown, mine.middle <= at_most, _shown(ours, mine))


def best(
    found: Found, names: Iterable[str], pick: Callable[..., str] = min, suffix: str = ""
) -> str:
    """The name with the smallest figure (with `max`, the largest); empty if none was measured."""
    there = [name for each in names if (name := f"{each} {suffix}".strip()) in found.figures]
    return pick(there, key=lambda name: found.figures[name].middle) if there else ""


def _shown(name: str, spread: Spread | None) -> str:
    return f"{name} {spread.middle:.4g}" if spread else f"{name} –".strip()
