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
class Results:
    """The results: figures by contender, or by contender and figure if it has several.

    `missing`: why a contender has no figures, or fewer rounds than planned.
    """

    figures: Mapping[str, Spread] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    """A goal, the result, and whether it is met. A goal without a figure is not met."""

    goal: str
    result: str
    is_met: bool
    ours: str = ""
    theirs: str = ""


@dataclass(frozen=True)
class Row:
    """A measure with its figures and verdicts. `curves`: by label, the figure's name for each size."""

    name: str
    unit: str
    results: Results
    verdicts: Sequence[Verdict] = ()
    curves: Mapping[str, Mapping[int, str]] = field(default_factory=dict)


_NOTHING = "not measured"


def ratio(
    results: Results,
    ours: str,
    theirs: str,
    *,
    at_most: float = 0,
    at_least: float = 0,
    label: str = "",
) -> Verdict:
    """Our figure over theirs, against a limit. `label` names theirs in the goal."""
    goal = f"{f'≤ {at_most:g}' if at_most else f'≥ {at_least:g}'} × {label or theirs}"
    our_figure, other = _figure(results, ours), _figure(results, theirs)
    if our_figure is None or other is None or not other.middle:
        return Verdict(goal, _NOTHING, False, _cell(ours, our_figure), _cell(theirs, other))
    times = our_figure.middle / other.middle
    is_met = times <= at_most if at_most else times >= at_least
    return Verdict(goal, f"{times:.2f} ×", is_met, _cell(ours, our_figure), _cell(theirs, other))


def limit(results: Results, ours: str, at_most: float, unit: str = "", label: str = "") -> Verdict:
    """Our figure against a limit in its unit. `label` names the figure in the goal."""
    goal = f"{label} ≤ {at_most:g} {unit}".strip()
    our_figure = _figure(results, ours)
    if our_figure is None:
        return Verdict(goal, _NOTHING, False)
    result = f"{our_figure.middle:.4g} {unit}".strip()
    return Verdict(goal, result, our_figure.middle <= at_most, _cell(ours, our_figure))


def best(
    results: Results, names: Iterable[str], pick: Callable[..., str] = min, suffix: str = ""
) -> str:
    """The name with the smallest figure (with `max`, the largest); empty if none was measured."""
    measured_names = [
        name for each in names if (name := f"{each} {suffix}".strip()) in results.figures
    ]
    if not measured_names:
        return ""
    return pick(measured_names, key=lambda name: results.figures[name].middle)


def _figure(results: Results, name: str) -> Spread | None:
    """A figure; None if its contender could not be measured.

    Raises:
        KeyError: no contender has such a figure, so its goal could never be met.
    """
    if name in results.figures:
        return results.figures[name]
    if not name or any(name.startswith(contender) for contender in results.missing):
        return None
    raise KeyError(f"no figure has the name {name!r}")


def _cell(name: str, spread: Spread | None) -> str:
    return f"{name} {spread.middle:.4g}" if spread else f"{name} –".strip()
