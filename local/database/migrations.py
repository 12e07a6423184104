"""Bootstraps a local database, and applies migrations; they are recorded as by the Supabase CLI."""

from collections.abc import Sequence
from pathlib import Path

import asyncpg

from local import CannotStart
from local.database.connecting import Connection, connected_as_owner
from local.database.expected import difference
from local.database.files import MIGRATIONS, Migration, Statement, read_migrations
from local.database.history import (
    CREATES_SCHEMA,
    Record,
    records_of_app,
    since_drop,
    why_app_is_outdated,
)
from local.database.postgres import SUPERUSER, Server
from local.database.project_shape import check_is_project

_BOOTSTRAP = Path(__file__).with_name("bootstrap.sql")
_LOGINS = ("postgres", "agent_api", "authenticator", "supabase_auth_admin")
_FIND_RECORD = "select to_regclass('supabase_migrations.schema_migrations')"
#: Concurrent migrations wait for each other.
_LOCK = "lock table supabase_migrations.schema_migrations"
_FIND_SCHEMA = "select to_regnamespace('agent')"
_FORGET = "delete from supabase_migrations.schema_migrations where version = any ($1)"
_RECORD = """
create schema if not exists supabase_migrations;
create table if not exists supabase_migrations.schema_migrations (
  version text primary key, statements text[], name text
)
"""
_RESET = (
    "reset it with `make clean` if it is the local one, else as docs/deploy.md describes under *Starting over*;"
    " either deletes its threads and runs"
)
_DROPPED = (
    "Schema agent was dropped outside the migrations of this database's app: drop it with a migration, as"
    " docs/deploy.md describes under *Starting over*; the app then applies ours again."
)


async def bootstrap(server: Server, database: str = "postgres") -> None:
    """Run bootstrap.sql on the server's database, and set a password for each login. Idempotent."""
    connection = await asyncpg.connect(server.url(SUPERUSER, database))
    try:
        async with connection.transaction():
            await connection.execute(_BOOTSTRAP.read_text())
            for login in _LOGINS:
                await connection.execute(f"alter role {login} password '{server.password(login)}'")
    finally:
        await connection.close()


async def migrate(url: str, folder: Path = MIGRATIONS) -> list[str]:
    """Apply the folder's migrations that the database lacks, in order; returns their files' names.

    Nothing is applied to a database that an app migrates, because the app's history would lack their versions.
    All are applied again if schema agent was dropped since.

    Raises:
        CannotStart: a migration failed and was rolled back (the message has file and line); the database's app lacks
            one; migrations that no longer exist made this database; it is no Supabase project's; the login may not
            migrate it; or it cannot be reached.
    """
    migrations = read_migrations(folder)
    async with connected_as_owner(url) as connection:
        await check_is_project(connection)
        await connection.execute(_RECORD)
        await _forget_dropped(connection, migrations)
        records = await _records(connection)
        if await _is_squashed(connection, migrations, records):
            return []
        if sentence := _why_replaced(migrations, records):
            raise CannotStart(sentence)
        if _of_app(migrations, records):
            return []
        _check_migrated_by_no_app(migrations, records)
        return [m.file.name for m in migrations if await _apply(connection, m)]


def _check_migrated_by_no_app(migrations: Sequence[Migration], records: Sequence[Record]) -> None:
    """Check that no app migrates a database that lacks all our migrations: its CLI rejects a history with others."""
    ours = _versions(migrations)
    versions = _versions(records)
    if versions and not versions & ours:
        raise CannotStart(
            f"An app migrates this database (it applied {min(versions)}), so it must apply these migrations, too:"
            " `python -m functions add-to <its folder>`, then `supabase migration up` there."
        )


async def _forget_dropped(connection: Connection, migrations: Sequence[Migration]) -> None:
    """Delete our records if schema agent was dropped since, so that all migrations are applied again."""
    async with connection.transaction():
        await connection.execute(_LOCK)
        if await connection.fetchval(_FIND_SCHEMA):
            return
        if _of_app(migrations, await _records(connection)):
            raise CannotStart(_DROPPED)
        await connection.execute(_FORGET, [m.version for m in migrations])


async def why_dropped(connection: Connection) -> str | None:
    """A sentence with the remedy if a database without schema agent got it from an app once; else None."""
    migrations = read_migrations(MIGRATIONS)
    try:
        has_record = await connection.fetchval(_FIND_RECORD)
        records = await _records(connection) if has_record else []
    except asyncpg.InsufficientPrivilegeError:
        return None
    return _DROPPED if _of_app(migrations, records) else None


async def outdated(url: str, folder: Path = MIGRATIONS) -> str | None:
    """A sentence with the remedy if other migrations than the folder's, or older ones of an app, made this database;
    else None.
    """
    migrations = read_migrations(folder)
    async with connected_as_owner(url) as connection:
        if not await connection.fetchval(_FIND_RECORD):
            return None
        records = await _records(connection)
        if await _is_squashed(connection, migrations, records):
            return None
    if sentence := _why_replaced(migrations, records):
        return sentence
    applied = {record.version: record.statements for record in records}
    changed = [m.file.name for m in migrations if m.texts != applied.get(m.version, m.texts)]
    if changed:
        return f"{changed[0]} was changed after this database applied it: {_RESET}."
    return None


async def _is_squashed(
    connection: Connection, migrations: Sequence[Migration], records: Sequence[Record]
) -> bool:
    """Whether an app has the schema as here, but squashed its history, so that no record is of a migration of ours."""
    ours = _versions(migrations)
    if any(record.version in ours for record in records) or _of_app(migrations, records):
        return False
    return bool(records) and await difference(connection, migrations) is None


def _why_replaced(migrations: Sequence[Migration], records: Sequence[Record]) -> str | None:
    if found := _of_app(migrations, records):
        return why_app_is_outdated(found, {m.name: ";".join(m.texts) for m in migrations})
    versions = _versions(migrations)
    for record in since_drop(records):
        # An app's own migrations are recorded in the same table.
        if record.version not in versions and record.contains(CREATES_SCHEMA):
            return (
                f"This database was made by migrations that no longer exist ({record.version}): if it is an app's whose"
                f" history was squashed, upgrade the app with `python -m functions add-to <its folder>`; else {_RESET}."
            )
    return None


def _of_app(migrations: Sequence[Migration], records: Sequence[Record]) -> dict[str, Record]:
    return records_of_app(records, {m.name for m in migrations}, _versions(migrations))


def _versions(entries: Sequence[Migration] | Sequence[Record]) -> set[str]:
    return {entry.version for entry in entries}


async def _apply(connection: Connection, migration: Migration) -> bool:
    async with connection.transaction():
        await connection.execute(_LOCK)
        if migration.version in _versions(await _records(connection)):
            return False
        for statement in migration.statements:
            await _execute(connection, migration.file, statement)
        await connection.execute(
            "insert into supabase_migrations.schema_migrations (version, name, statements)"
            " values ($1, $2, $3)",
            migration.version,
            migration.name,
            migration.texts,
        )
    return True


async def _records(connection: Connection) -> list[Record]:
    """What the database applied, in the order of the versions."""
    rows = await connection.fetch(
        "select version, name, statements from supabase_migrations.schema_migrations order by version"
    )
    return [Record(row["version"], row["name"], row["statements"] or ()) for row in rows]


async def _execute(connection: Connection, file: Path, statement: Statement) -> None:
    try:
        await connection.execute(statement.text)
    except asyncpg.PostgresError as error:
        # `position` counts characters of the statement from 1.
        position = int(getattr(error, "position", None) or 1)
        line = statement.line + statement.text.count("\n", 0, position - 1)
        raise CannotStart(f"{file}:{line}: {error}") from error
