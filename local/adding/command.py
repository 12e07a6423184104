"""The command: shows the plan, asks, and writes."""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from functions.registry import InvalidFunctions, listed_functions
from local.adding.app import App, CannotAdd, checkout, find_app
from local.adding.plan import Plan, make_plan
from local.adding.report import describe, next_steps
from local.confirming import is_confirmed


def main(arguments: Sequence[str]) -> int:
    """Add to the app; returns the exit code: 0 if the app has everything or the plan was only shown, else 1.

    An expected failure prints one sentence, and nothing has changed.
    """
    options = _parser().parse_args(arguments)
    try:
        return _run(options)
    except (CannotAdd, InvalidFunctions) as error:
        sys.stderr.write(f"{error}\n")
    except (KeyboardInterrupt, EOFError):
        sys.stderr.write("\nNothing has changed.\n")
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m functions add-to",
        description="Add schema agent and the gateway to a Supabase app, or update them.",
    )
    parser.add_argument("path", type=Path, help="the app's folder `supabase`")
    parser.add_argument("--yes", action="store_true", help="write without a question")
    parser.add_argument("--dry-run", action="store_true", help="show the plan, and write nothing")
    parser.add_argument(
        "--force", action="store_true", help="also replace the gateway's files that the app edited"
    )
    return parser


def _run(options: argparse.Namespace) -> int:
    ours = checkout()
    app = find_app(options.path, ours)
    now = datetime.now(UTC)
    plan = _plan(app, ours, now, force=options.force)
    _show(describe(plan, ours))
    if plan.is_empty:
        return 0
    if options.dry_run:
        _show(next_steps(app))
        return 0
    count = len(plan.written) + len(plan.removed)
    if not options.yes and not is_confirmed(f"Change these {count} files?"):
        return 1
    if _plan(app, ours, now, force=options.force) != plan:
        raise CannotAdd(
            "The app changed after the plan was shown, and nothing was written; run the command again."
        )
    steps = next_steps(app)
    with _named_fault("changed"):
        plan.apply()
    _show("\nDone.\n" + steps)
    return 0


def _plan(app: App, ours: App, now: datetime, *, force: bool) -> Plan:
    with _named_fault("read"):
        return make_plan(app, ours, listed_functions(), now, force=force)


@contextmanager
def _named_fault(verb: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CannotAdd(f"The app cannot be {verb}, and nothing has changed: {error}.") from None


def _show(text: str) -> None:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has seen enough. At exit, Python would write what is left, and fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
