"""What a row of the table is: figures of each contender in one unit, and the goals they are held against."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median


@dataclass(frozen=True)
class Spread:
    """One figure: the median of its rounds, with the least and the most."""

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
    """What was measured: figures, named by contender and, where it has several, by what they are of.

    `missing` says of contenders why they have none, or fewer rounds than asked for.
    """

    figures: Mapping[str, Spread] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    """A goal, what was found, and whether that meets it. A goal without a figure is not met."""

    goal: str
    found: str
    is_met: bool
    ours: str = ""
    theirs: str = ""


@dataclass(frozen=True)
class Row:
    """A measure with its figures and verdicts. `curves`, where it grows: a label, and the figure of each size."""

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
    """Our figure over theirs, against a limit. `label` names them in the goal."""
    goal = f"{f'≤ {at_most:g}' if at_most else f'≥ {at_least:g}'} × {label or theirs}"
    mine, other = found.figures.get(ours), found.figures.get(theirs)
    if mine is None or other is None or not other.middle:
        return Verdict(goal, _NOTHING, False, _shown(ours, mine), _shown(theirs, other))
    times = mine.middle / other.middle
    is_met = times <= at_most if at_most else times >= at_least
    return Verdict(goal, f"{times:.2f} ×", is_met, _shown(ours, mine), _shown(theirs, other))


def limit(found: Found, ours: str, at_most: float, unit: str = "", label: str = "") -> Verdict:
    """Our figure against a limit in its unit. `label` says in the goal what is limited."""
    goal = f"{label} ≤ {at_most:g} {unit}".strip()
    mine = found.figures.get(ours)
    if mine is None:
        return Verdict(goal, _NOTHING, False)
    shown = f"{mine.middle:.4g} {unit}".strip()
    return Verdict(goal, shown, mine.middle <= at_most, _shown(ours, mine))


def best(
    found: Found, names: Iterable[str], pick: Callable[..., str] = min, suffix: str = ""
) -> str:
    """Who of these has the least figure (or, with `max`, the most); nobody if none was measured."""
    there = [name for each in names if (name := f"{each} {suffix}".strip()) in found.figures]
    return pick(there, key=lambda name: found.figures[name].middle) if there else ""


def _shown(name: str, spread: Spread | None) -> str:
    return f"{name} {spread.middle:.4g}" if spread else f"{name} –".strip()
