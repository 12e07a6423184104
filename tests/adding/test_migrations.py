"""Our migrations as a part of an app's history: their versions, and what is refused."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from local.adding.app import App, CannotAdd, checkout
from local.adding.migrations import next_versions, read_migrations
from tests.adding.apps import NOW, add, later_release, make_app, migration_names, plan

NAMES = [migration.name for migration in read_migrations(checkout())]
DROP = "drop schema agent cascade;\n"
LATER = NOW + timedelta(days=1)


@pytest.fixture
def app(tmp_path: Path) -> App:
    return make_app(tmp_path / "supabase", _20250101000000_orders="create table orders ();")


@pytest.fixture
def release(tmp_path: Path) -> App:
    return later_release(tmp_path / "release")


def refusal(app: App, ours: App | None = None) -> str:
    with pytest.raises(CannotAdd) as refused:
        plan(app, ours, now=LATER)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_our_names_are_unique() -> None:
    assert len(set(NAMES)) == len(NAMES) > 0


def test_each_file_is_copied_byte_for_byte_in_our_order(app: App) -> None:
    add(app)
    copies = sorted(app.migrations.glob("*_agent_*.sql"))
    assert [copy.name.partition("_agent_")[2] for copy in copies] == [f"{n}.sql" for n in NAMES]
    assert [copy.read_bytes() for copy in copies] == [
        m.content for m in read_migrations(checkout())
    ]
    assert copies[-1].name.startswith("20261224183009_")
    assert copies[0].name.startswith("20261224182954_"), "a minute has 60 seconds"


@pytest.mark.parametrize(
    ("last", "first"),
    [
        ("", "20261224183007"),
        ("0001", "20261224183007"),
        ("20261224183006", "20261224183007"),
        ("20261224183007", "20261224183008"),
        ("20261224183009", "20261224183010"),
        ("20271231235959", "20280101000000"),
    ],
)
def test_versions_come_after_the_apps_last_one_and_up_to_now(last: str, first: str) -> None:
    versions = next_versions(last, NOW, 3)
    assert versions[0] == first
    assert versions == sorted(versions)
    assert len(set(versions)) == 3


def test_versions_are_in_utc() -> None:
    there = NOW.astimezone(tz=None)
    assert next_versions("", there, 1) == ["20261224183009"]


@pytest.mark.parametrize("last", ["9", "20269999999999", "202712241830591"])
def test_a_last_version_that_is_no_time_is_refused(app: App, last: str) -> None:
    (app.migrations / f"{last}_odd.sql").write_text("select 1;")
    assert f"version {last}, which is no time" in refusal(app)


def test_a_last_version_after_which_no_time_comes_is_refused(app: App) -> None:
    (app.migrations / "99991231235959_odd.sql").write_text("select 1;")
    assert "version 99991231235959, after which no time comes" in refusal(app)


def test_an_upgrade_adds_only_what_is_new_after_the_apps_last_version(
    app: App, release: App
) -> None:
    add(app)
    before = migration_names(app)
    (app.migrations / "20261225000000_more.sql").write_text("create table more ();")
    (release.migrations / "20261128120003_early.sql").write_text("create table agent.early ();")
    (release.migrations / "20990101000000_extra.sql").write_text("create table agent.extra ();")
    add(app, release, now=LATER)
    assert [name for name in migration_names(app) if name not in before] == [
        "20261225000000_more.sql",
        "20261225183008_agent_early.sql",
        "20261225183009_agent_extra.sql",
    ]
    assert plan(app, release, now=LATER).is_empty


def test_line_ends_that_git_changed_are_no_edit(app: App) -> None:
    add(app)
    for file in [*app.migrations.glob("*_agent_*"), *app.gateway.iterdir()]:
        file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    assert plan(app, now=LATER).is_empty


def test_an_edited_migration_is_refused(app: App) -> None:
    add(app)
    (copy,) = app.migrations.glob("*_agent_limits.sql")
    copy.write_text(copy.read_text() + "-- mine\n")
    assert f"migrations/{copy.name} was edited in the app" in refusal(app)


def test_a_migration_that_changed_here_needs_a_new_start(app: App, release: App) -> None:
    add(app)
    (file,) = release.migrations.glob("*_limits.sql")
    file.write_text(file.read_text() + "-- ours\n")
    assert "start over as docs/deploy.md" in refusal(app, release)


def test_a_missing_migration_is_refused(app: App) -> None:
    add(app)
    next(app.migrations.glob("*_agent_limits.sql")).unlink()
    assert "agent_limits is missing" in refusal(app)


def test_an_app_of_a_later_release_is_refused(app: App, release: App) -> None:
    (release.migrations / "20990101000000_extra.sql").write_text("create table agent.extra ();")
    add(app, release)
    assert "agent_extra of a later release; update this checkout" in refusal(app)


@pytest.mark.parametrize(
    "text",
    [
        "create schema agent;",
        "select 1;\nCREATE SCHEMA IF NOT EXISTS agent;",
        'create table a (); create schema "agent" authorization postgres;',
    ],
)
def test_a_schema_agent_of_the_app_is_refused(app: App, text: str) -> None:
    (app.migrations / "20250101000001_mine.sql").write_text(text)
    assert "20250101000001_mine.sql creates a schema agent of the app's own" in refusal(app)


def test_a_declared_schema_agent_is_refused(app: App) -> None:
    (app.folder / "schemas").mkdir()
    (app.folder / "schemas/agent.sql").write_text("create schema agent;")
    assert "schemas/agent.sql creates a schema agent" in refusal(app)


@pytest.mark.parametrize(
    "text", ["create schema agents;", 'create schema "agent-x";', "-- create schema agent;"]
)
def test_other_schemas_are_the_apps_business(app: App, text: str) -> None:
    (app.migrations / "20250101000001_mine.sql").write_text(text)
    assert not plan(app).is_empty


def test_a_migration_that_drops_the_schema_starts_over(app: App, release: App) -> None:
    add(app)
    before = migration_names(app)
    (app.migrations / "20261225000000_drop.sql").write_text(DROP)
    (file,) = release.migrations.glob("*_limits.sql")
    file.write_text(file.read_text() + "-- ours\n")
    add(app, release, now=LATER)
    new = [name for name in migration_names(app) if name not in before][1:]
    assert [name.partition("_agent_")[2] for name in new] == [f"{name}.sql" for name in NAMES]
    assert plan(app, release, now=LATER).is_empty


def test_a_squashed_history_has_what_was_added_before(app: App, release: App) -> None:
    add(app)
    for file in app.migrations.iterdir():
        file.unlink()
    squashed = app.migrations / "20261225000000_squashed.sql"
    squashed.write_text('CREATE SCHEMA IF NOT EXISTS "agent";\n')
    assert plan(app, now=LATER).is_empty
    (release.migrations / "20990101000000_extra.sql").write_text("create table agent.extra ();")
    add(app, release, now=LATER)
    assert migration_names(app) == [squashed.name, "20261225183009_agent_extra.sql"]


def test_an_app_without_migrations_gets_the_folder(app: App) -> None:
    shutil.rmtree(app.migrations)
    add(app, now=datetime(2026, 12, 24, tzinfo=UTC))
    assert len(migration_names(app)) == len(NAMES)
