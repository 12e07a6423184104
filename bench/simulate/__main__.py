"""`python -m bench.simulate`: simulate a day of four traces, print the tables of docs/scale.md, and plot them."""

import argparse
import sys
from pathlib import Path
from typing import Final

from bench.simulate import plots, report
from bench.simulate.settings import search
from bench.simulate.traces import TRACES

_FOLDER: Final = Path(__file__).parents[2] / "docs" / "scale"


def main() -> int:
    """Print the tables, and write the plots."""
    parser = argparse.ArgumentParser(prog="python -m bench.simulate", description=__doc__)
    parser.add_argument("--out", type=Path, default=_FOLDER, help="folder of the plots")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    traces = {name: make() for name, make in TRACES.items()}
    _print(report.HEADER, *(line for trace in traces.values() for line in report.costs(trace)))
    idle = traces["idle-chat"]
    tried = search(idle)
    _print(*report.by_total(tried, idle.requests))
    _print(*report.sensitivity())
    plots.pods_over_the_day([*traces.values()], out / "pods.svg")
    plots.windows(tried, idle.requests, out / "windows.svg")
    print(f"plots: {out}")
    return 0


def _print(*lines: str) -> None:
    print("\n".join(lines), end="\n\n", flush=True)


if __name__ == "__main__":
    sys.exit(main())
