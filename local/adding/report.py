"""A plan as text."""

import json
from collections.abc import Iterable, Iterator
from difflib import unified_diff
from pathlib import Path
from textwrap import indent

from local.adding.app import App
from local.adding.manifest import NAME
from local.adding.plan import OUTSIDE, Plan

_NEXT = """
Next, in the app's folder (docs/deploy.md has the values and the steps between):

  supabase migration up                     # the local database, if `supabase start` runs
  supabase db push --remote                 # the linked project's
{secrets}  supabase functions deploy auth-gateway --use-api
"""
_SECRETS = """\
  supabase secrets set GATEWAY_SIGNING_KEY=… FASTAPI_ORIGIN_URL=… ALLOWED_ORIGINS=… SWEEP_SECRET=…
"""


def next_steps(app: App) -> str:
    """What is left to do after the files are written. An app that has the gateway already has its secrets, too."""
    return _NEXT.format(secrets="" if (app.gateway / NAME).exists() else _SECRETS)


def describe(plan: Plan, ours: App) -> str:
    """Every file that is created, replaced, removed or left, and what the migrations change."""
    parts = [
        f"{plan.app.folder}\n\n" + "".join(_file_lines(plan)),
        *_describe_block(plan),
        *_describe_outside(plan, ours),
        *(f"Warning: {warning}\n" for warning in plan.warnings),
    ]
    if plan.is_empty:
        parts.append("Nothing to do: the app has all of it.\n")
    return "\n".join(parts)


def _file_lines(plan: Plan) -> Iterator[str]:
    for path in plan.written:
        replaces = "change" if path == plan.app.config else "replace"
        yield _line(replaces if path.exists() else "create", path, plan.app)
    yield from _lines("remove", plan.removed, plan.app)
    yield from _lines("leave", plan.left, plan.app)


def _lines(word: str, paths: Iterable[Path], app: App) -> Iterator[str]:
    return (_line(word, path, app) for path in paths)


def _line(word: str, path: Path, app: App) -> str:
    return f"  {word:<7}  {path.relative_to(app.folder).as_posix()}\n"


def _describe_block(plan: Plan) -> Iterator[str]:
    config = plan.app.config
    if config in plan.written:
        before, after = (
            text.decode("utf-8-sig").splitlines()
            for text in (config.read_bytes(), plan.written[config])
        )
        # Without the lines of the two files' names.
        changes = [*unified_diff(before, after, n=1, lineterm="")][2:]
        shown = "".join(f"{line}\n" for line in changes if not line.startswith("@@"))
        yield f"In {config.name}, only these lines change:\n\n" + indent(shown, "  ")


def _describe_outside(plan: Plan, ours: App) -> Iterator[str]:
    if plan.has_migrations:
        outside = json.loads((ours.folder / OUTSIDE).read_text())
        lines = (f"  {name}: {change}\n" for name, change in outside.items())
        yield (
            "All migrations together make schema agent. Outside it, they make or change only:\n\n"
            + "".join(lines)
        )
