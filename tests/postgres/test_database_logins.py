"""Addresses and logins of Postgres: what connects, and what stops the start with one sentence."""

import asyncio
from typing import Any
from urllib.parse import quote, urlsplit
from uuid import uuid4

import pytest

from local import CannotStart
from local.database.connecting import connect
from local.database.given import with_login
from shared.core.environment import InvalidSettings
from shared.core.errors import Unavailable
from shared.core.settings import Settings
from shared.database import refusal_of
from shared.database.pool import Database, Refused
from tests.fixtures.database import MigratedServer, TestDatabase
from tests.postgres.holders import admit, begin, connected, superuser


@pytest.mark.parametrize("query", ["sslmode=require", "sslrootcert=system", "ssl=true"])
async def test_sslmode_in_the_url_is_honoured(database: TestDatabase, query: str) -> None:
    db = Database(Settings(supabase_database_url=f"{database.url}?{query}"))
    # The server of the tests has no TLS.
    with pytest.raises(Unavailable):
        await _call_once(db)


async def _call_once(db: Database) -> None:
    try:
        await db.connect()
        await db.call("log_position", str(uuid4()))
    finally:
        await db.close()


async def test_a_password_of_any_characters_is_percent_encoded(
    database: TestDatabase, postgres: MigratedServer
) -> None:
    login, password = f"odd_{uuid4().hex}", "p@:/#%?&ü 1"
    host = f"127.0.0.1:{postgres.server.port}"
    name = urlsplit(database.url).path
    async with superuser(database) as creator:
        await creator.execute(f"create role {login} login password '{password}'")
        url = f"postgresql://{login}:{quote(password, safe='')}@{host}{name}"
        async with connected(url) as db:
            assert await db.is_ready()
        await creator.execute(f"drop role {login}")


@pytest.mark.parametrize(
    "query",
    [
        "pgbouncer=true&connect_timeout=15",
        "sslmode=disable&ApplicationName=app&connection_limit=1",
        "ssl=false&options=-c%20statement_timeout%3D5000",
        "statement_timeout=5s&search_path=public&timezone=Europe/Zurich&TimeZone=UTC",
    ],
)
@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+asyncpg"])
async def test_a_copied_address_connects(database: TestDatabase, scheme: str, query: str) -> None:
    url = database.url.replace("postgresql", scheme, 1)
    async with connected(f"{url}?{query}") as db:
        assert await db.is_ready()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("agent_api:", "nobody:"), "the password is wrong, or there is no such user"),
        (("agent_api:", "agent_api:wrong"), "the password is wrong, or there is no such user"),
        (("/test_", "/no_"), "there is no database of this name"),
        (("?", "?timezone=Nowhere/City&"), "has a value that the server does not accept"),
    ],
)
async def test_a_refused_login_is_one_sentence(
    database: TestDatabase, change: tuple[str, str], reason: str
) -> None:
    db = Database(Settings(supabase_database_url=f"{database.url}?".replace(*change)))
    with pytest.raises(InvalidSettings, match=f"^SUPABASE_DATABASE_URL is refused: .*{reason}"):
        await db.connect()
    await db.close()


async def test_a_role_without_login_is_named(database: TestDatabase) -> None:
    role = f"closed_{uuid4().hex}"
    async with superuser(database) as creator:
        await creator.execute(f"create role {role} nologin password 'word'")
        db = Database(Settings(supabase_database_url=with_login(database.url, role, "word")))
        with pytest.raises(InvalidSettings, match="this user may not log in: `alter role"):
            await db.connect()
        await db.close()
        await creator.execute(f"drop role {role}")


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ('role "canary" does not exist', "there is no such user."),
        (
            'no pg_hba.conf entry for host "::1", user "canary", database "x", no encryption',
            "not log in from here without TLS: set sslmode=require.",
        ),
        ("rôle inconnu", "there is no such user, or it may not log in from here, or"),
    ],
)
def test_a_login_that_may_not_enter_is_one_sentence(message: str, reason: str) -> None:
    sentence = str(refusal_of("28000", message))
    assert reason in sentence
    assert "canary" not in sentence


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            "does not offer TLS as Postgres does: check its port",
        ),
        (b"-ERR unknown command\r\n", "does not offer TLS as Postgres does: check its port"),
        (b"", "closed the connection: it is starting or stopping, or is not Postgres"),
    ],
)
async def test_a_port_of_something_else_is_named(reply: bytes, reason: str) -> None:
    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(8)
        writer.write(reply)
        writer.close()

    async with await asyncio.start_server(respond, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(CannotStart, match=reason):
            await connect(f"postgresql://a:b@127.0.0.1:{port}/postgres")


@pytest.mark.parametrize(("port", "size"), [(6543, 0), (5432, 256)])
async def test_only_a_transaction_pooler_gets_no_prepared_statements(port: int, size: int) -> None:
    db = Database(Settings(supabase_database_url=f"postgresql://a:b@127.0.0.1:{port}/postgres"))
    pool = await db._open()
    await db.close()

    assert _options_of(pool)["statement_cache_size"] == size


def _options_of(pool: Any) -> dict[str, Any]:
    options: dict[str, Any] = pool._connect_kwargs
    return options


async def test_a_login_that_bypasses_row_security_is_refused_at_start(
    database: TestDatabase,
) -> None:
    for url in (database.owner_url, database.superuser_url):
        with pytest.raises(InvalidSettings, match="ALLOW_BYPASSRLS_LOGIN"):
            await _call_once(Database(Settings(supabase_database_url=url)))


async def test_a_database_without_the_schema_is_refused_at_start(database: TestDatabase) -> None:
    async with database.owner() as owner:
        await owner.execute("drop schema agent cascade")
    db = Database(Settings(supabase_database_url=database.url))
    with pytest.raises(InvalidSettings, match="has no schema agent: apply the migrations"):
        await db.connect()
    assert not await db.is_ready()
    await db.close()


async def test_a_bypassing_login_that_was_allowed_still_shows_only_the_users_rows(
    database: TestDatabase,
) -> None:
    async with connected(database.owner_url, allow_bypassrls_login=True) as db:
        alice, bob = await admit(database), await admit(database)
        await begin(db, alice)
        async with db.session(bob) as connection:
            assert await connection.fetch_val("select count(*) from agent.thread") == 0
        with pytest.raises(Refused, match="run_not_found"):
            await db.call("find_run", bob, "run-1", None)
