"""A database as a new Supabase project has it, and all that it has outside schema agent."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from local.database.binaries import find_binaries
from local.database.migrations import bootstrap
from local.database.postgres import SUPERUSER, Server
from tests.fixtures.database import TestDatabase

_KEYS = """
select distinct confrelid::regclass::text from pg_constraint
 where contype = 'f' and conrelid::regclass::text like 'agent.%' and confrelid::regclass::text not like 'agent.%'
"""
_OURS = ("--exclude-schema=agent", "--exclude-schema=supabase_migrations")


@dataclass(frozen=True)
class Snapshot:
    """What is outside schema agent and outside the CLI's own record: as pg_dump writes it, with all rows."""

    database: str
    roles: str
    referenced: frozenset[str]

    def changes(self, after: "Snapshot") -> set[str]:
        """The names of the changes until the other snapshot, as outside.json has them."""
        assert after.database == self.database
        roles = {line for line in after.roles.splitlines() if line not in self.roles.splitlines()}
        assert set(self.roles.splitlines()) <= set(after.roles.splitlines())
        assert all("agent_api" in line for line in roles), roles
        tables = after.referenced - self.referenced
        return {f"foreign keys to {table}" for table in tables} | (
            {"role agent_api"} if roles else set()
        )


async def make_project(server: Server, name: str) -> TestDatabase:
    """A database of this server without our role."""
    administrator = await asyncpg.connect(server.url(SUPERUSER))
    try:
        await administrator.execute(f"create database {name}")
        await bootstrap(server, name)
        # Here bootstrap.sql makes it; on Supabase the migrations do.
        await administrator.execute("drop role agent_api")
    finally:
        await administrator.close()
    return TestDatabase(
        *(server.url(login, name) for login in ("agent_api", "postgres", SUPERUSER))
    )


async def drop_project(server: Server, name: str) -> None:
    administrator = await asyncpg.connect(server.url(SUPERUSER))
    try:
        await administrator.execute(f"drop database {name} with (force)")
        await administrator.execute("drop role if exists agent_api")
    finally:
        await administrator.close()


async def snapshot(database: TestDatabase) -> Snapshot:
    async with database.owner() as owner:
        rows = await owner.fetch(_KEYS)
    return Snapshot(
        _dump("pg_dump", "--schema-only", *_OURS, database.superuser_url)
        + _dump("pg_dump", "--data-only", "--inserts", *_OURS, database.superuser_url),
        _dump("pg_dumpall", "--roles-only", f"--dbname={database.superuser_url}"),
        frozenset(row[0] for row in rows),
    )


def _dump(name: str, *arguments: str) -> str:
    folder: Path = find_binaries(os.environ.get("TEST_PG_BIN", ""))
    done = subprocess.run([str(folder / name), *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    # Each dump has a random word in its `\restrict`.
    return "".join(line for line in done.stdout.splitlines(True) if "restrict" not in line[:12])
