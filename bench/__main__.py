"""`python -m bench`: measure all rows, or those named; `--quick` takes about three minutes."""

import argparse
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from bench import report
from bench.rounds import Effort, progress, reason
from bench.rows import (
    Results,
    Row,
    Verdict,
    cold_start,
    crowds,
    durable,
    edge,
    followers,
    pages,
    streaming,
    waking,
)
from bench.site import FOLDER, Site, site
from local import CannotStart


@dataclass(frozen=True)
class Planned:
    """A row: its measure, the minutes of its full measurement on two cores, and whether `--quick` includes it."""

    measure: Callable[[Site, Effort], Row]
    minutes: float
    is_quick: bool = False


ROWS: Final[dict[str, Planned]] = {
    "cold-start": Planned(cold_start.exec_to_ready, 3, is_quick=True),
    "first-request": Planned(cold_start.first_request, 1.5),
    "first-token-from-zero": Planned(waking.first_token, 1, is_quick=True),
    "first-page-from-zero": Planned(waking.first_page, 0.5, is_quick=True),
    "paced": Planned(streaming.paced, 6, is_quick=True),
    "flat-out": Planned(streaming.flat_out, 5.5, is_quick=True),
    "first-token": Planned(streaming.first_token, 3, is_quick=True),
    "runs": Planned(streaming.one_token_runs, 4, is_quick=True),
    "statements": Planned(durable.statements, 4, is_quick=True),
    "wal": Planned(durable.wal, 2.5, is_quick=True),
    "statements-per-second": Planned(durable.statements_per_second, 0.5),
    "memory": Planned(crowds.memory, 3.5),
    "two-thousand": Planned(crowds.two_thousand, 1.5),
    "gateway": Planned(edge.per_request, 1, is_quick=True),
    "gateway-from-zero": Planned(edge.first_answer, 0.5, is_quick=True),
    "followers": Planned(followers.followers, 2.5),
    "pages": Planned(pages.pages, 4),
}


def main() -> int:
    """Measure, save the results after each row, and print the table and the number of goals met."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("rows", nargs="*", choices=[[], *ROWS], metavar="row", help=", ".join(ROWS))
    parser.add_argument("--quick", action="store_true", help="small loads, few rounds, no peers")
    parser.add_argument("--rounds", type=int, default=100, help="maximum number of rounds per row")
    parser.add_argument("--out", type=Path, help=f"folder of the results; default: one in {FOLDER}")
    options = parser.parse_args()
    # Ctrl-C and SIGTERM end it with the results so far, and leave no process running.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    names = options.rows or [
        name for name, row in ROWS.items() if row.is_quick or not options.quick
    ]
    out = options.out or FOLDER / "results" / datetime.now(UTC).strftime("%Y-%m-%dT%H%M%S")
    rows = _measure(names, Effort(options.quick, options.rounds), out)
    met, all_ = report.goals(rows)
    print(f"\n{report.markdown(rows)}\n\nresults: {out}, logs: {FOLDER / 'logs'}")
    print(f"goals met: {met}/{all_}")
    return 0 if len(rows) == len(names) else 130


def _measure(names: list[str], effort: Effort, out: Path) -> list[Row]:
    rows: list[Row] = []
    minutes = sum(ROWS[name].minutes for name in names)
    planned = "" if effort.is_quick else f", about {minutes:.0f} min"
    progress(f"{len(names)} rows{planned}; results go to {out}")
    try:
        with site() as here:
            for nth, name in enumerate(names, 1):
                planned = "" if effort.is_quick else f", about {ROWS[name].minutes:g} min"
                progress(f"{name} (row {nth} of {len(names)}{planned})")
                rows.append(_row(here, name, effort))
                report.save(rows, out)
    except CannotStart as error:
        raise SystemExit(str(error)) from None
    except KeyboardInterrupt:
        progress(f"interrupted; {len(rows)} of {len(names)} rows are measured")
    return rows


def _row(here: Site, name: str, effort: Effort) -> Row:
    try:
        return ROWS[name].measure(here, effort)
    except Exception as error:
        # A bug of the bench itself: it is in the table, and the other rows are kept.
        text = reason(error)
        return Row(name, "", Results(missing={name: text}), [Verdict("measured", text, False)])


if __name__ == "__main__":
    sys.exit(main())
