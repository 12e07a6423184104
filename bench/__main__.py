"""`python -m bench`: measure all rows, or those named; `--quick` measures what fits into three minutes."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from time import monotonic

from bench import report
from bench.rows import Row, cold_start, durable, edge, followers, pages, streaming
from bench.site import FOLDER, Site, site

#: Every row, and whether the quick bench has it.
ROWS: dict[str, tuple[Callable[..., Row], bool]] = {
    "cold-start": (cold_start.exec_to_ready, True),
    "first-request": (cold_start.first_request, False),
    "paced": (streaming.paced, True),
    "flat-out": (streaming.flat_out, True),
    "first-token": (streaming.first_token, True),
    "first-token-p99": (streaming.first_token_p99, False),
    "runs": (streaming.one_token_runs, True),
    "statements": (durable.statements, True),
    "statements-per-second": (durable.statements_per_second, False),
    "memory": (durable.memory, False),
    "two-thousand": (durable.two_thousand, False),
    "gateway": (edge.door, True),
    "followers": (followers.followers, False),
    "pages": (pages.pages, False),
}


def main() -> int:
    """Measure, print the table, and say how many goals were met."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("rows", nargs="*", choices=[[], *ROWS], metavar="row", help=", ".join(ROWS))
    parser.add_argument("--quick", action="store_true", help="fewer rounds, no peers")
    parser.add_argument("--out", type=Path, default=FOLDER / "results", help="where results go")
    asked = parser.parse_args()
    names = asked.rows or [name for name, (_, quick) in ROWS.items() if quick or not asked.quick]
    with site() as here:
        rows = [_measure(here, name, is_quick=asked.quick) for name in names]
    report.save(rows, asked.out)
    met, all_ = report.goals(rows)
    print(f"\n{report.markdown(rows)}\n\ngoals met: {met}/{all_}")
    return 0


def _measure(here: Site, name: str, *, is_quick: bool) -> Row:
    began = monotonic()
    sys.stderr.write(f"  {name:<24}")
    sys.stderr.flush()
    row = ROWS[name][0](here, is_quick=is_quick)
    sys.stderr.write(f"{monotonic() - began:6.1f} s\n")
    return row


if __name__ == "__main__":
    sys.exit(main())
