"""Apps with our migrations in their history, pushed by the real CLI to a real Postgres."""

import json
import re
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from local import CannotStart
from local.adding.app import App, checkout
from local.adding.plan import OUTSIDE
from local.database.migrations import migrate, outdated
from shared.core.json import Json
from tests.adding.apps import add, contents, later_release
from tests.adding.cli import Cli
from tests.adding.databases import snapshot
from tests.fixtures.database import TestDatabase
from tests.postgres.holders import admit, begin, complete, connected

SHOP = Path(__file__).with_name("shop.sql")
LISTED = json.loads((checkout().folder / OUTSIDE).read_text())
#: Only where the database has pg_cron; tests/postgres/test_pg_cron.py compares them.
OF_THE_SCHEDULE = {name for name in LISTED if name.startswith(("extension", "job"))}
LATER = datetime.now(UTC) + timedelta(days=1)
RUNS = "select client_thread_id, run.id, status from agent.thread join agent.run on thread.id = thread_id"


@pytest.fixture
def release(tmp_path: Path) -> App:
    """A later release, with one migration more."""
    release = later_release(tmp_path / "release")
    (release.migrations / "20990101000000_extra.sql").write_text(
        "create table agent.extra (id int primary key);\nalter table agent.extra enable row level security;\n"
    )
    return release


def add_shop(app: App) -> None:
    app.migrations.mkdir()
    shutil.copy(SHOP, app.migrations / "20250101000000_shop.sql")


async def set_password(project: TestDatabase) -> None:
    """As docs/deploy.md has it."""
    password = project.url.partition("//agent_api:")[2].partition("@")[0]
    async with project.owner() as owner:
        await owner.execute(f"alter role agent_api login password '{password}'")


async def make_thread(project: TestDatabase) -> Json:
    """A thread with a completed run, made as functions do it; returns the claims of its user."""
    user = await admit(project)
    async with connected(project.url) as db:
        await complete(db, await begin(db, user))
    return user


async def stored(project: TestDatabase) -> list[tuple[object, ...]]:
    async with project.owner() as owner:
        return [tuple(row) for row in await owner.fetch(RUNS)]


async def test_an_empty_project_gets_all_of_it(cli: Cli, app: App, project: TestDatabase) -> None:
    before = await snapshot(project)
    add(app, now=datetime.now(UTC))
    assert add(app, now=LATER).is_empty
    assert len(cli.push()) == len([*checkout().migrations.iterdir()])
    assert cli.push() == []
    assert all(local == remote for local, remote in cli.history())
    cli.run("db", "advisors", f"--remote={project.owner_url}", "--fail-on", "error")
    changes = before.changes(await snapshot(project))
    assert changes == LISTED.keys() - OF_THE_SCHEDULE
    await set_password(project)
    await make_thread(project)
    assert [status for _, _, status in await stored(project)] == ["completed"]


async def test_an_app_keeps_its_own_and_an_upgrade_keeps_threads_and_runs(
    cli: Cli, app: App, release: App, project: TestDatabase
) -> None:
    add_shop(app)
    assert cli.push() == ["20250101000000_shop.sql"]
    before, files = await snapshot(project), contents(app.folder)

    add(app, now=datetime.now(UTC))
    cli.push()
    await set_password(project)
    changed = {name for name, content in files.items() if contents(app.folder)[name] != content}
    assert changed - {".temp/cli-latest"} == {"config.toml"}
    assert before.changes(await snapshot(project)) == LISTED.keys() - OF_THE_SCHEDULE
    await make_thread(project)
    rows, installed = await stored(project), await snapshot(project)

    # At once: none of our versions is in the future.
    cli.run("migration", "new", "of_the_app")
    add(app, release, now=LATER)
    assert [re.sub(r"\d+", "", name) for name in cli.push()] == [
        "_of_the_app.sql",
        "_agent_extra.sql",
    ]
    assert await stored(project) == rows
    assert installed.changes(await snapshot(project)) == set()
    assert all(local == remote for local, remote in cli.history())
    cli.run("migration", "up", f"--remote={project.owner_url}")


async def test_make_dev_and_migrate_leave_an_apps_history_alone(
    cli: Cli, app: App, release: App, project: TestDatabase
) -> None:
    add_shop(app)
    add(app, now=datetime.now(UTC))
    cli.push()
    history = cli.history()
    assert await outdated(project.owner_url) is None
    assert await migrate(project.owner_url) == []
    with pytest.raises(
        CannotStart, match="lacks the migration extra: run `python -m functions add-to`"
    ):
        await migrate(project.owner_url, release.migrations)
    (file,) = release.migrations.glob("*_limits.sql")
    file.write_text(file.read_text().replace("create", "create  ", 1) + "-- a comment\n")
    (extra,) = release.migrations.glob("*_extra.sql")
    extra.unlink()
    assert await outdated(project.owner_url, release.migrations) is None, "spaces do not matter"
    file.write_text(file.read_text() + "select 1;\n")
    sentence = await outdated(project.owner_url, release.migrations) or ""
    assert "The migration limits was changed after the app" in sentence
    assert cli.history() == history
