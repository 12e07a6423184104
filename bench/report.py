"""What was measured, for people: a table as Markdown, plots as PNG; and for programs, JSON."""

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from bench.rows import Row


def markdown(rows: Sequence[Row]) -> str:
    """The table: goal, ours, theirs and verdict, a line for each goal."""
    lines = [
        "| measure | goal | found | met | figures: median (least–most) |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        figures = ", ".join(f"{name} {spread}" for name, spread in row.figures.items())
        told = [*row.notes, f"{figures} {row.unit}".strip()]
        for nth, verdict in enumerate(row.verdicts):
            met = "yes" if verdict.is_met else "**no**"
            name, whole = (row.name, "; ".join(told)) if nth == 0 else ("", "")
            lines.append(f"| {name} | {verdict.goal} | {verdict.found} | {met} | {whole} |")
    return "\n".join(lines)


def goals(rows: Sequence[Row]) -> tuple[int, int]:
    """How many goals were met, and how many there are."""
    verdicts = [verdict for row in rows for verdict in row.verdicts]
    return sum(verdict.is_met for verdict in verdicts), len(verdicts)


def save(rows: Sequence[Row], folder: Path) -> None:
    """Write `results.json`, `results.md`, and a plot of each row that compares."""
    folder.mkdir(parents=True, exist_ok=True)
    machine = {"python": platform.python_version(), "system": platform.platform()}
    written = {"machine": machine, "rows": [asdict(row) for row in rows]}
    (folder / "results.json").write_text(json.dumps(written, indent=1) + "\n")
    (folder / "results.md").write_text(markdown(rows) + "\n")
    for row in rows:
        if len(row.figures) > 1:
            _plot(row, folder / f"{_file(row.name)}.png")


def _file(name: str) -> str:
    words = "".join(letter if letter.isalnum() else " " for letter in name.lower()).split()
    return "-".join(words[:6])


def _plot(row: Row, file: Path) -> None:
    # Heavy, and only needed at the very end.
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    names = list(row.figures)
    middles = [row.figures[name].middle for name in names]
    ends = [
        [row.figures[n].middle - min(row.figures[n].values) for n in names],
        [max(row.figures[n].values) - row.figures[n].middle for n in names],
    ]
    figure, axes = pyplot.subplots(figsize=(7, 0.45 * len(names) + 1.2), layout="constrained")
    ours = {"agent", "threads", "tools", "runner"}
    colours = ["#2563eb" if name in ours else "#9ca3af" for name in names]
    bars = axes.barh(names, middles, xerr=ends, color=colours, error_kw={"lw": 0.8, "capsize": 2})
    axes.invert_yaxis()
    axes.set_xlabel(row.unit)
    axes.set_title(row.name, fontsize=10)
    axes.bar_label(bars, fmt="%.3g", padding=4, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, dpi=110)
    pyplot.close(figure)
