"""A database that other migrations made is recognised, and the error says how to reset it."""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import mkdtemp

import asyncpg
import pytest

from local import CannotStart
from local.children import Children
from local.database import start
from local.database.files import MIGRATIONS
from local.database.migrations import migrate, outdated
from local.environment import ROOT
from tests.fixtures.database import TestDatabase
from tests.fixtures.sql import execute

_RECORDED = "supabase_migrations.schema_migrations"
_OLD = f"update {_RECORDED} set version = '20261124000001' where name = 'roles'"
_EDITED = f"update {_RECORDED} set statements = array['select 1'] where name = 'log'"
_OF_THE_APP = f"""
insert into {_RECORDED} (version, name, statements)
values ('20250101000000', 'app', array['create table public.invoice ()', 'create schema agents'])
"""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_OLD, "was made by migrations that no longer exist (20261124000001)"),
        (_EDITED, "_log.sql was changed after this database applied it"),
    ],
)
async def test_a_local_database_of_other_migrations_is_refused_in_one_sentence(
    database: TestDatabase, change: str, message: str
) -> None:
    async with database.owner() as owner:
        await owner.execute(change)
    sentence = await outdated(database.owner_url)
    assert sentence
    assert message in sentence
    assert "`make clean`" in sentence
    assert sentence.count("\n") == 0


async def test_nothing_is_applied_to_a_database_of_other_migrations(database: TestDatabase) -> None:
    async with database.owner() as owner:
        await owner.execute(_OLD)
        await owner.execute(f"delete from {_RECORDED} where name = 'grants'")
        with pytest.raises(CannotStart, match="no longer exist"):
            await migrate(database.owner_url)
        assert not await owner.fetchval(f"select count(*) from {_RECORDED} where name = 'grants'")


async def test_migrate_prints_only_that_sentence(database: TestDatabase) -> None:
    async with database.owner() as owner:
        await owner.execute(_OLD)
    command = [sys.executable, "-m", "local", "migrate", "--url", database.owner_url]
    run = partial(subprocess.run, cwd=ROOT, capture_output=True, text=True, timeout=60)
    done = await asyncio.to_thread(run, command)
    assert done.returncode == 1
    assert done.stderr.startswith("This database was made by migrations that no longer exist")
    assert done.stderr.count("\n") == 1


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder that Postgres's own user may enter."""
    folder = Path(mkdtemp(prefix="agent-functions-test-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


def prepare(home: Path, *, keeps_data: bool) -> list[str]:
    """Start the database of `dev` (which keeps its data) or `demo`, make it old, and stop it. Returns the output."""
    lines: list[str] = []
    with Children(home / "logs") as children:
        pg_bin = os.environ.get("TEST_PG_BIN", "")
        logins = start(
            children,
            home / "postgres",
            port=0,
            pg_bin=pg_bin,
            keeps_data=keeps_data,
            say=lines.append,
        )
        asyncio.run(execute(logins.owner, _OLD))
    return lines


def test_dev_refuses_an_old_database_and_demo_replaces_it(home: Path) -> None:
    applied = [line for line in prepare(home, keeps_data=True) if "applied" in line]
    assert len(applied) == len([*MIGRATIONS.glob("*.sql")])
    with pytest.raises(CannotStart, match="make clean"):
        prepare(home, keeps_data=True)
    assert applied == [line for line in prepare(home, keeps_data=False) if "applied" in line]


async def test_the_first_migration_refuses_an_existing_schema(database: TestDatabase) -> None:
    first = min(MIGRATIONS.glob("*.sql"))
    async with database.owner() as owner:
        with pytest.raises(asyncpg.RaiseError, match="drop schema agent cascade") as refused:
            await owner.execute(first.read_text())
    assert "\n" not in str(refused.value.args[0])


async def test_an_apps_own_migrations_do_not_matter(database: TestDatabase) -> None:
    async with database.owner() as owner:
        await owner.execute(_OF_THE_APP)
    assert await outdated(database.owner_url) is None
    assert await migrate(database.owner_url) == []


_SQUASHED = f"""
delete from {_RECORDED};
insert into {_RECORDED} (version, name, statements)
values ('20270101000000', 'squashed', array['create schema if not exists "agent"'])
"""


async def test_a_squashed_history_of_an_app_is_judged_by_the_schema_that_it_made(
    database: TestDatabase,
) -> None:
    async with database.owner() as owner:
        await owner.execute(_SQUASHED)
        assert await outdated(database.owner_url) is None
        assert await migrate(database.owner_url) == []
        await owner.execute("drop function agent.prune cascade")
    assert "no longer exist" in str(await outdated(database.owner_url))
    with pytest.raises(CannotStart, match="no longer exist"):
        await migrate(database.owner_url)


_DROPPED_BY_APP = f"""
delete from {_RECORDED};
insert into {_RECORDED} (version, name, statements) values
  ('20270101000000', 'agent_schema', array['create schema agent']),
  ('20270102000000', 'drop_agent', array['drop schema agent cascade']);
drop schema agent cascade
"""


async def test_after_an_app_dropped_the_schema_the_way_back_is_named(
    database: TestDatabase,
) -> None:
    async with database.owner() as owner:
        await owner.execute(_DROPPED_BY_APP)
    assert await outdated(database.owner_url) is None
    with pytest.raises(CannotStart, match="add-to"):
        await migrate(database.owner_url)
