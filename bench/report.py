"""Reports the results: a table as Markdown, plots as PNG, and JSON for programs."""

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from bench.rows import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_OURS = {"assistant", "threads", "tools", "runner", "gateway"}


def markdown(rows: Sequence[Row]) -> str:
    """The table: a line for each goal, with both figures; the first line of a row has all figures."""
    lines = [
        "| measure | goal | ours | theirs | result | met | all figures: median (least–most) |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        for nth, verdict in enumerate(row.verdicts):
            met = "yes" if verdict.is_met else "**no**"
            name, figures = (row.name, _figures(row)) if nth == 0 else ("", "")
            cells = (name, verdict.goal, verdict.ours, verdict.theirs, verdict.result, met, figures)
            lines.append(f"| {' | '.join(cell.replace('|', '¦') for cell in cells)} |")
    return "\n".join(lines)


def _figures(row: Row) -> str:
    figures = ", ".join(f"{name} {spread}" for name, spread in row.results.figures.items())
    missing = [
        f"{name} could not be measured: {text}" for name, text in row.results.missing.items()
    ]
    measured = [f"{figures} {row.unit}".strip()] if figures else []
    return "; ".join([*measured, *missing])


def goals(rows: Sequence[Row]) -> tuple[int, int]:
    """The number of goals met, and of all goals."""
    verdicts = [verdict for row in rows for verdict in row.verdicts]
    return sum(verdict.is_met for verdict in verdicts), len(verdicts)


def save(rows: Sequence[Row], folder: Path) -> None:
    """Write `results.json`, `results.md`, and a plot of the last row if it has several figures."""
    folder.mkdir(parents=True, exist_ok=True)
    machine = {"python": platform.python_version(), "system": platform.platform()}
    document = {"machine": machine, "rows": [asdict(row) for row in rows]}
    (folder / "results.json").write_text(json.dumps(document, indent=1) + "\n")
    met, all_ = goals(rows)
    (folder / "results.md").write_text(f"{markdown(rows)}\n\ngoals met: {met}/{all_}\n")
    if len(rows[-1].results.figures) > 1:
        _plot(rows[-1], folder / f"{_file(rows[-1].name)}.png")


def _file(name: str) -> str:
    words = "".join(letter if letter.isalnum() else " " for letter in name.lower()).split()
    return "-".join(words[:6])


def _plot(row: Row, file: Path) -> None:
    # Imported here, because it is heavy, and plots are made between measurements.
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    height = 4.0 if row.curves else 0.45 * len(row.results.figures) + 1.2
    figure, axes = pyplot.subplots(figsize=(7, height), layout="constrained")
    (_curves if row.curves else _bars)(row, axes)
    axes.set_title(row.name, fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, dpi=110)
    pyplot.close(figure)


def _bars(row: Row, axes: "Axes") -> None:
    spreads = row.results.figures
    middles = [spread.middle for spread in spreads.values()]
    ends = [
        [spread.middle - min(spread.values) for spread in spreads.values()],
        [max(spread.values) - spread.middle for spread in spreads.values()],
    ]
    colours = ["#2563eb" if name.split()[0] in _OURS else "#9ca3af" for name in spreads]
    bars = axes.barh(
        [*spreads], middles, xerr=ends, color=colours, error_kw={"lw": 0.8, "capsize": 2}
    )
    axes.invert_yaxis()
    axes.set_xlabel(row.unit)
    axes.bar_label(bars, fmt="%.3g", padding=4, fontsize=8)


def _curves(row: Row, axes: "Axes") -> None:
    for label, names in row.curves.items():
        there = {size: row.results.figures[name].middle for size, name in names.items()}
        axes.plot([*there], [*there.values()], marker="o", label=label)
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("rows")
    axes.set_ylabel(row.unit)
    axes.legend(frameon=False)
