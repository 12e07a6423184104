"""The plots of docs/scale.md, as SVG."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.simulate import DAY
from bench.simulate.deployment import Hpa
from bench.simulate.outcome import Outcome, steps
from bench.simulate.rules import shipped
from bench.simulate.settings import GOAL, Tried, deployment, knative, proposed
from bench.simulate.traces import Trace

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_OURS, _THEIRS, _GOAL = "#2563eb", "#9ca3af", "#dc2626"
_SLOT: Final = 600.0
#: A line above this would press the others together.
_HIGH: Final = 50


def pods_over_the_day(traces: Sequence[Trace], file: Path) -> None:
    """A panel for each trace: how many pods there are, ours and a Deployment's."""
    with _figure(file, len(traces), (8, 2.1 * len(traces))) as panels:
        for axes, trace in zip(panels, traces, strict=True):
            _day(axes, trace)
        panels[0].legend(
            frameon=False, ncols=3, loc="lower right", bbox_to_anchor=(1, 1), fontsize=8
        )
        panels[-1].set_xlabel("hour of the day")


def _day(axes: "Axes", trace: Trace) -> None:
    ours = _slots(knative(trace, shipped("assistant")))
    theirs = _slots(deployment(trace, Hpa()))
    top = max(most for _, most in ours + theirs if most < _HIGH)
    hours = [nth * _SLOT / 3600 for nth in range(len(ours))]
    axes.fill_between(
        hours,
        [mean for mean, _ in ours],
        step="post",
        color=_OURS,
        lw=0,
        label="Knative, mean of ten minutes",
    )
    axes.step(
        hours, [most for _, most in ours], where="post", color=_OURS, lw=0.7, label="most at once"
    )
    if max(most for _, most in theirs) < _HIGH:
        label = "Deployment, 2 to 10"
        axes.step(
            hours, [most for _, most in theirs], where="post", color=_THEIRS, label=label, zorder=1
        )
    else:
        text = f"Deployments: {theirs[0][1]} pods all day"
        axes.text(
            0.99,
            0.93,
            text,
            transform=axes.transAxes,
            ha="right",
            va="top",
            color="#6b7280",
            fontsize=9,
        )
    axes.set_title(trace.name, fontsize=10, loc="left")
    axes.set_ylabel("pods")
    axes.set_xlim(0, 24)
    axes.set_xticks(range(0, 25, 3))
    axes.set_ylim(0, top * 1.2)
    axes.yaxis.get_major_locator().set_params(integer=True)  # type: ignore[call-arg]  # it is a MaxNLocator


def _slots(outcome: Outcome) -> list[tuple[float, int]]:
    """The mean and the most pods in each ten minutes of the day."""
    slots = [[0.0, 0.0] for _ in range(int(DAY / _SLOT))]
    changes = steps(outcome.spans)
    for (since, count), (until, _) in pairwise(changes):
        for nth in range(int(since // _SLOT), min(int(until // _SLOT) + 1, len(slots))):
            part = min(until, (nth + 1) * _SLOT) - max(since, nth * _SLOT)
            slots[nth][0] += count * part / _SLOT
            slots[nth][1] = max(slots[nth][1], count)
    # The last one twice, so that its step has a width.
    return [(mean, int(most)) for mean, most in (*slots, slots[-1])]


def windows(tried: Sequence[Tried], requests: int, file: Path) -> None:
    """Pod-seconds against cold starts, for every combination of windows."""
    rules = shipped("assistant")
    with _figure(file, 1, (8, 4.2)) as (axes,):
        dots = axes.scatter(
            [each.cold_starts / requests * 100 for each in tried],
            [each.relative for each in tried],
            c=[each.to_zero for each in tried],
            cmap="viridis_r",
            s=26,
        )
        axes.figure.colorbar(dots, label="window + delay + retention, s")
        axes.axhline(GOAL, color=_GOAL, lw=1, ls="--")
        axes.text(86, GOAL + 0.003, f"goal: {GOAL}", color=_GOAL, ha="right", fontsize=9)
        for name, chosen, offset in (("shipped", rules, 25), ("proposed", proposed(rules), -60)):
            sought = (chosen.window, chosen.delay, chosen.retention)
            [at] = [each for each in tried if (each.window, each.delay, each.retention) == sought]
            _mark(axes, name, at, requests, offset)
        axes.set_xlabel("cold starts, % of all messages")
        axes.set_ylabel("pod-seconds, of two replicas'")
        axes.set_ylim(bottom=0)


def _mark(axes: "Axes", name: str, at: Tried, requests: int, offset: int) -> None:
    where = (at.cold_starts / requests * 100, at.relative)
    axes.scatter(*where, s=110, facecolors="none", edgecolors="black", lw=1.2)
    text = f"{name}: {at.window:.0f} + {at.delay:.0f} + {at.retention:.0f} s"
    arrow = {"arrowstyle": "-", "lw": 0.8, "shrinkB": 6}
    axes.annotate(
        text, where, (25, offset), textcoords="offset points", fontsize=9, arrowprops=arrow
    )


@contextmanager
def _figure(file: Path, rows: int, size: tuple[float, float]) -> Iterator[Sequence["Axes"]]:
    # Imported here, because it is heavy.
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    # The same figures make the same file; text stays text.
    mpl.rcParams.update(
        {"svg.fonttype": "none", "svg.hashsalt": "scale", "font.family": "sans-serif"}
    )
    figure, panels = pyplot.subplots(rows, figsize=size, layout="constrained", squeeze=False)
    column: list[Axes] = list(panels[:, 0])
    yield column
    for axes in column:
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, metadata={"Date": None})
    pyplot.close(figure)
