"""Apps of Supabase to add to, and later releases of this checkout."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

from functions.registry import FunctionList, listed_functions
from local.adding.app import App, checkout
from local.adding.plan import Plan, make_plan
from local.environment import ROOT

NOW = datetime(2026, 12, 24, 18, 30, 9, tzinfo=UTC)
CONFIG = b'project_id = "shop"\n\n[api]\nschemas = ["public"]\n'


def make_app(folder: Path, config: bytes = CONFIG, **migrations: str) -> App:
    """An app with this config.toml and migrations, `_20250101000000_orders="create …"`."""
    (folder / "migrations").mkdir(parents=True)
    (folder / "config.toml").write_bytes(config)
    for name, text in migrations.items():
        (folder / "migrations" / f"{name[1:]}.sql").write_text(text)
    return App(folder)


def later_release(folder: Path) -> App:
    """A copy of what this checkout ships, to change."""
    shutil.copytree(ROOT / "supabase", folder / "supabase")
    return App(folder / "supabase")


def plan(
    app: App,
    ours: App | None = None,
    *,
    now: datetime = NOW,
    force: bool = False,
    functions: FunctionList | None = None,
) -> Plan:
    return make_plan(app, ours or checkout(), functions or listed_functions(), now, force=force)


def add(app: App, ours: App | None = None, *, now: datetime = NOW, force: bool = False) -> Plan:
    """Add to the app; returns what was done."""
    made = plan(app, ours, now=now, force=force)
    made.apply()
    return made


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Every file with its bytes and the time of its last change."""
    return {
        file.relative_to(folder).as_posix(): (file.read_bytes(), file.stat().st_mtime_ns)
        for file in folder.rglob("*")
        if file.is_file()
    }


def migration_names(app: App) -> list[str]:
    return sorted(file.name for file in app.migrations.iterdir())
