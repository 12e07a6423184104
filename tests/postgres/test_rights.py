"""The rights of two users and of Supabase's API roles in schema `agent`."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import pytest

from shared.core.json import Json
from tests.fixtures.database import MigratedServer, TestDatabase
from tests.postgres.holders import admit, append, begin, connected, entry, message, row, run_request

TABLES = (
    *("thread", "run", "lease", "run_secret", "run_event", "item", "interrupt", "audit_event"),
    *("turn_usage", "note", "weather_cache", "tool_list", "day_usage", "call_slot"),
)
SECRET = ("lease", "run_secret", "weather_cache", "tool_list", "call_slot")


@dataclass
class House:
    """A database where Alice has a row in every table, and Bob is another user."""

    database: TestDatabase
    authenticator: str
    alice: Json
    bob: Json

    @asynccontextmanager
    async def request(
        self, role: str, claims: Json | None
    ) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
        """A request as PostgREST makes it: the login `authenticator`, the token's role, its claims."""
        connection = await asyncpg.connect(self.authenticator)
        try:
            await connection.execute(f"set role {role}")
            if claims is not None:
                written = json.dumps(claims)
                await connection.fetchval(
                    "select set_config('request.jwt.claims', $1, false)", written
                )
            yield connection
        finally:
            await connection.close()


@pytest.fixture
async def house(database: TestDatabase, postgres: MigratedServer) -> House:
    alice, bob = await admit(database), await admit(database)
    async with connected(database.url) as db:
        leased = await begin(db, alice, run_request("secret of alice"))
        items = message(2, str(uuid4()), "for alice")
        spent = row(5, "turn.finished", usage={"input_tokens": 5})
        await append(db, entry(leased, *items, spent, closes=True))
        await db.call("cancel_run", alice, "run-1", "request-1")
        waits = await begin(db, alice, run_request(run="run-2", thread="thread-2"))
        interrupt = {"id": str(uuid4()), "reason": "confirmation"}
        await append(db, entry(waits, row(2, "run.interrupted", interrupts=[interrupt])))
        await db.call("write_note", alice, None, "call-1", "note of alice")
        await db.call("cache_weather", "berlin", "celsius", {"sky": "clear"})
        await db.call("store_tool_list", "http://tools/mcp", "", [])
        await db.call("take_call_slot", leased["run_id"], "call-1", uuid4(), 1, 60)
    async with database.owner() as owner:
        await owner.execute("insert into agent.day_usage values ($1, now(), 5)", alice["sub"])
    async with database.owner() as owner:
        for table in TABLES:
            assert await owner.fetchval(f"select count(*) from agent.{table}"), table
    url = postgres.server.url("authenticator", urlsplit(database.url).path[1:])
    return House(database, url, alice, bob)


async def test_every_table_of_the_schema_is_tested_here(house: House) -> None:
    async with house.database.owner() as owner:
        rows = await owner.fetch("select tablename from pg_tables where schemaname = 'agent'")
    assert {found["tablename"] for found in rows} == set(TABLES)


@pytest.mark.parametrize("forged", [{}, {"role": "service_role"}, {"role": "postgres"}])
async def test_another_user_sees_no_row_of_any_table(house: House, forged: Json) -> None:
    async with house.request("authenticated", {**house.bob, **forged}) as bob:
        for table in sorted({*TABLES} - {*SECRET}):
            assert await bob.fetchval(f"select count(*) from agent.{table}") == 0, table


@pytest.mark.parametrize("claims", [None, {}, {"role": "service_role"}, {"sub": None}])
async def test_without_a_user_no_row_is_seen(house: House, claims: Json | None) -> None:
    async with house.request("authenticated", claims) as connection:
        for table in sorted({*TABLES} - {*SECRET}):
            assert await connection.fetchval(f"select count(*) from agent.{table}") == 0, table


async def test_an_owner_sees_their_rows(house: House) -> None:
    async with house.request("authenticated", house.alice) as alice:
        for table in sorted({*TABLES} - {*SECRET}):
            assert await alice.fetchval(f"select count(*) from agent.{table}"), table


@pytest.mark.parametrize("role", ["authenticated", "anon"])
async def test_no_api_role_reads_tokens_and_claims(house: House, role: str) -> None:
    async with house.request(role, house.alice) as alice:
        for table in SECRET:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await alice.fetch(f"select * from agent.{table}")


async def test_anon_and_service_role_have_no_way_in(house: House) -> None:
    for role in ("anon", "service_role"):
        async with house.request(role, house.alice) as someone:
            for table in TABLES:
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await someone.fetch(f"select * from agent.{table}")


@pytest.mark.parametrize(
    "decision",
    [
        "update agent.run set status = 'completed'",
        "update agent.run set last_seq = 0",
        "update agent.run set owner = auth.uid()",
        "update agent.item set data = '{}'",
        "update agent.item set owner = auth.uid()",
        "update agent.thread set owner = auth.uid()",
        "update agent.thread set client_thread_id = 'x'",
        "update agent.thread set deleted_at = now()",
        "update agent.day_usage set tokens = 0",
        "delete from agent.day_usage",
        "delete from agent.thread",
        "update agent.run_event set data = '{}'",
        "update agent.interrupt set reason = 'x'",
        "update agent.audit_event set outcome = 'x'",
        "delete from agent.audit_event",
        "delete from agent.run_event",
        "delete from agent.run",
        "delete from agent.item",
        "truncate agent.audit_event",
        "insert into agent.audit_event (owner, action, outcome) values (auth.uid(), 'a', 'b')",
        "insert into agent.run_event (run_id, seq, attempt, type)"
        " select id, 99, 1, 'run.failed' from agent.run",
        "insert into agent.run (thread_id, owner, client_run_id, agent, request, request_hash, status)"
        " select id, owner, 'x', 'assistant', '{}', '', 'in_progress' from agent.thread",
        "insert into agent.item (thread_id, owner, key, kind, data)"
        " select id, owner, 'x', 'tool_call', '{}' from agent.thread",
        "create table agent.mine ()",
        "create function agent.mine() returns void language sql as ''",
    ],
)
async def test_an_owner_cannot_write_what_only_functions_decide(
    house: House, decision: str
) -> None:
    async with house.request("authenticated", house.alice) as alice:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await alice.execute(decision)


@pytest.mark.parametrize(
    "theft",
    [
        "insert into agent.thread (owner, client_thread_id) values ('{alice}', 'x')",
        "insert into agent.run (thread_id, owner, client_run_id, agent, request, request_hash)"
        " values ('{thread}', '{alice}', 'x', 'assistant', '{{}}', '')",
        "insert into agent.run (thread_id, owner, client_run_id, agent, request, request_hash)"
        " values ('{thread}', auth.uid(), 'x', 'assistant', '{{}}', '')",
        "insert into agent.item (thread_id, owner, key, kind, data)"
        " values ('{thread}', '{alice}', 'x', 'message', '{{}}')",
        "insert into agent.item (thread_id, owner, key, kind, data)"
        " values ('{thread}', auth.uid(), 'x', 'message', '{{}}')",
    ],
)
async def test_a_user_cannot_write_into_another_users_threads(house: House, theft: str) -> None:
    async with house.database.owner() as owner:
        thread = await owner.fetchval("select id from agent.thread limit 1")

    async with house.request("authenticated", house.bob) as bob:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await bob.execute(theft.format(alice=house.alice["sub"], thread=thread))


async def test_a_user_cannot_change_another_users_rows(house: House) -> None:
    async with house.request("authenticated", house.bob) as bob:
        for change in (
            "update agent.thread set title = 'mine'",
            "update agent.item set superseded_at = now()",
            "update agent.interrupt set status = 'resolved', resolved_at = now()",
        ):
            assert await bob.execute(change) == "UPDATE 0", change


async def test_a_user_can_call_no_function_of_the_schema(house: House) -> None:
    async with house.database.owner() as owner:
        rows = await owner.fetch(_CALLS)
    assert len(rows) > 15
    for role in ("authenticated", "anon", "service_role"):
        async with house.request(role, house.alice) as alice:
            for found in rows:
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await alice.execute(found["call"])


_CALLS = """
select format('select agent.%I(%s)', proname,
         (select string_agg(format('null::%s', format_type(kind, null)), ', ' order by nth)
            from unnest(proargtypes) with ordinality as argument (kind, nth))) as call
  from pg_proc where pronamespace = 'agent'::regnamespace
   and not proargtypes::oid[] @> array['record'::regtype::oid]
"""


async def test_a_session_cannot_become_another_user_through_a_function(house: House) -> None:
    async with connected(house.database.url) as db, db.session(house.bob) as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(
                "select agent.act_as(:claims)", {"claims": json.dumps(house.alice)}
            )


async def test_the_functions_login_reads_and_writes_no_table_itself(house: House) -> None:
    connection = await asyncpg.connect(house.database.url)
    try:
        for table in TABLES:
            for statement in (f"select * from agent.{table}", f"delete from agent.{table}"):
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connection.fetch(statement)
    finally:
        await connection.close()


async def test_an_anonymous_user_is_an_owner_like_any(house: House) -> None:
    guest = await admit(house.database, is_anonymous=True)
    async with connected(house.database.url) as db:
        assert (await begin(db, guest))["outcome"] == "leased"
        async with db.session(guest) as connection:
            assert await connection.fetch_val("select count(*) from agent.thread") == 1
