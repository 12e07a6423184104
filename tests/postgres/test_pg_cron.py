"""The schedule with Debian's own pg_cron, on a server with a substitute for pg_net that records requests."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp

import pytest

from local.children import Children
from local.database.files import MIGRATIONS
from local.database.migrations import bootstrap, migrate
from local.database.postgres import SUPERUSER, Server, start
from tests.fixtures.database import TestDatabase
from tests.fixtures.sql import execute
from tests.postgres.holders import admit, begin, connected, expire

_DEBIAN = Path("/usr/lib/postgresql")
_CRONS = sorted(_DEBIAN.glob("*/lib/pg_cron.so"))
_CONFIGURED = "shared_preload_libraries = 'pg_cron'\ncron.use_background_workers = on\n"
_CONTROL = "default_version = '1'\nrelocatable = false\n"
_PG_NET = """
create schema net;
create table net.sent (url text, body jsonb, params jsonb, headers jsonb, timeout_milliseconds integer);
create function net.http_post(url text, body jsonb default '{}', params jsonb default '{}', headers jsonb default '{}',
                              timeout_milliseconds integer default 5000) returns bigint
language sql as 'insert into net.sent values (url, body, params, headers, timeout_milliseconds) returning 1';
"""
_VAULT = """
create schema vault;
create table vault.decrypted_secrets (name text, decrypted_secret text);
insert into vault.decrypted_secrets values
  ('agent_sweep_url', 'https://x.invalid/sweep'), ('agent_sweep_secret', 's');
"""

pytestmark = pytest.mark.skipif(
    not _CRONS and os.environ.get("CI") != "true", reason="pg_cron is not installed"
)


@pytest.fixture
def server() -> Iterator[Server]:
    """A server with pg_cron, and with an extension of pg_net's name."""
    assert _CRONS, "CI runs this test: install Debian's pg_cron"
    folder = Path(mkdtemp(prefix="agent-functions-cron-"))
    folder.chmod(0o711)
    try:
        pg_bin = str(_installed(folder / "usr", _CRONS[-1].parent.parent))
        with Children(folder / "logs") as children:
            yield start(children, folder / "postgres", pg_bin=pg_bin, is_safe=False)
    finally:
        shutil.rmtree(folder)


def _installed(usr: Path, debian: Path) -> Path:
    """Debian's Postgres in a folder of its own, where extensions can be added. Returns its programs' folder."""
    shutil.copytree(debian / "bin", usr / "lib/postgresql" / debian.name / "bin")
    (usr / "lib/postgresql" / debian.name / "lib").symlink_to(debian / "lib")
    share = usr / "share/postgresql" / debian.name
    shutil.copytree(f"/usr/share/postgresql/{debian.name}", share, symlinks=True)
    with (share / "postgresql.conf.sample").open("a") as settings:
        settings.write(_CONFIGURED)
    (share / "extension/pg_net.control").write_text(_CONTROL)
    (share / "extension/pg_net--1.sql").write_text(_PG_NET)
    return usr / "lib/postgresql" / debian.name / "bin"


async def migrated(server: Server, *, may_install: bool) -> TestDatabase:
    """The server's own database, migrated by a login that may install extensions, as on Supabase, or may not."""
    await bootstrap(server)
    urls = [server.url(login) for login in ("agent_api", "postgres", SUPERUSER)]
    if may_install:
        await execute(urls[2], "alter role postgres superuser")
    await migrate(urls[1])
    return TestDatabase(*urls)


async def test_the_migrations_schedule_the_sweep_where_they_may(server: Server) -> None:
    database = await migrated(server, may_install=True)
    async with database.owner() as owner:
        (job,) = await owner.fetch("select * from cron.job")
        assert await owner.fetchval("select agent.schedule_sweep()") == "scheduled"
        assert await owner.fetch("select * from cron.job") == [job], "again changes nothing"

    assert (job["schedule"], job["username"], job["active"]) == ("* * * * *", "postgres", True)
    await execute(database.superuser_url, _VAULT)
    user = await admit(database)
    async with connected(database.url) as db:
        await expire(database, await begin(db, user))
    async with database.owner() as owner:
        assert await owner.fetchval(job["command"]) == "woken"
        (sent,) = await owner.fetch("select * from net.sent")
    assert (sent["url"], sent["body"], sent["params"]) == ("https://x.invalid/sweep", "{}", "{}")


async def test_what_the_schedule_makes_outside_the_schema_is_listed(server: Server) -> None:
    database = await migrated(server, may_install=True)
    async with database.owner() as owner:
        extensions = await owner.fetch(
            "select extname from pg_extension where extname <> 'plpgsql'"
        )
        jobs = await owner.fetch("select jobname from cron.job")
    listed = json.loads(MIGRATIONS.with_name("outside.json").read_text())
    made = {f"extension {row[0]}" for row in extensions}
    made |= {f"job {row[0]} of pg_cron" for row in jobs}
    assert made == {name for name in listed if name.startswith(("extension", "job"))}


async def test_the_migrations_pass_where_they_may_not_install_anything(server: Server) -> None:
    database = await migrated(server, may_install=False)
    async with database.owner() as owner:
        assert await owner.fetchval("select to_regnamespace('cron')") is None
        assert (
            await owner.fetchval("select agent.schedule_sweep()") == "pg_cron or pg_net is missing"
        )
