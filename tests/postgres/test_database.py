"""`shared.database` and the traps of its library: a connection returns to the pool clean, or is closed."""

import asyncio
from collections.abc import AsyncIterator
from time import monotonic
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from shared.core.errors import Unavailable
from shared.database.pool import Database, Refused
from tests.fixtures.database import TestDatabase
from tests.fixtures.waiting import eventually
from tests.postgres.holders import admit, begin, connected, run_request, superuser

_SETUP = """
create function agent.slow() returns text language sql as $$ select pg_sleep(30)::text $$;
create function agent.peek() returns jsonb language sql as $$
  select jsonb_build_object(
    'role', current_user, 'claims', current_setting('request.jwt.claims', true),
    'sub', current_setting('request.jwt.claim.sub', true),
    'timeout', current_setting('statement_timeout'), 'pid', pg_backend_pid())
$$;
create table public.checked (
  id integer primary key, parent integer references public.checked deferrable initially deferred
);
grant select, insert on public.checked to authenticated;
"""


@pytest.fixture
async def prepared(database: TestDatabase) -> TestDatabase:
    async with database.owner() as owner:
        await owner.execute(_SETUP)
    return database


@pytest.fixture
async def one(prepared: TestDatabase) -> AsyncIterator[Database]:
    """A pool of one connection: if it is not returned, the next call fails."""
    async with connected(prepared.url, database_connections=1, database_seconds=2.0) as db:
        yield db


async def peek(db: Database) -> dict[str, Any]:
    async with asyncio.timeout(4):
        seen: dict[str, Any] = await db.call("peek")
    return seen


async def assert_whole(db: Database) -> None:
    """Check that the one connection is in the pool, without any user's settings."""
    seen = await peek(db)
    assert seen["role"] == "agent_api"
    assert not seen["claims"]
    assert not seen["sub"]
    assert seen["timeout"] == "0"


async def test_a_commit_that_fails_returns_its_connection(one: Database) -> None:
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        async with one.session({"sub": str(uuid4())}) as connection:
            await connection.execute("insert into public.checked values (1, 2)")

    await assert_whole(one)


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("kind", ["call", "rows", "session"])
async def test_a_cancelled_task_leaves_the_pool_whole(
    one: Database, prepared: TestDatabase, times: int, kind: str
) -> None:
    async def work() -> None:
        if kind == "session":
            async with one.session({"sub": str(uuid4())}) as connection:
                await connection.execute("insert into public.checked values (1)")
                await connection.fetch_val("select pg_sleep(30)")
        else:
            await getattr(one, kind)("slow")

    task = asyncio.ensure_future(work())
    async with superuser(prepared) as watcher:
        await eventually(lambda: watcher.fetchval(_SLEEPING))
        for _ in range(times):
            task.cancel()
            await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await task
        await assert_whole(one)
        assert await watcher.fetchval("select count(*) from public.checked") == 0


_SLEEPING = """
select exists (select from pg_stat_activity where usename = 'agent_api' and wait_event = 'PgSleep'
                and datname = current_database())
"""


async def test_an_exhausted_pool_is_unavailable_after_a_limited_wait(
    prepared: TestDatabase,
) -> None:
    async with (
        connected(prepared.url, database_connections=1, database_seconds=0.3) as db,
        db.session({"sub": str(uuid4())}),
    ):
        began = monotonic()
        with pytest.raises(Unavailable):
            await db.call("peek")
        assert monotonic() - began < 2


async def test_a_statement_that_takes_too_long_is_unavailable(prepared: TestDatabase) -> None:
    async with connected(prepared.url, database_connections=1, database_seconds=0.3) as db:
        with pytest.raises(Unavailable):
            await db.call("slow")
        await assert_whole(db)


async def test_the_connection_of_the_readiness_check_serves_the_first_call(
    prepared: TestDatabase,
) -> None:
    async with (
        connected(prepared.url, database_connections=2) as db,
        superuser(prepared) as watcher,
    ):
        assert await db.is_ready()
        (pid,) = [row["pid"] for row in await watcher.fetch(_CONNECTED)]
        assert (await peek(db))["pid"] == pid


_CONNECTED = """
select pid from pg_stat_activity where usename = 'agent_api' and datname = current_database()
"""


async def test_child_tasks_of_a_session_are_inside_it(one: Database) -> None:
    sub, turn = str(uuid4()), asyncio.Lock()
    async with one.session({"sub": sub}) as connection:
        await connection.execute("insert into public.checked values (7)")

        async def child() -> tuple[str, int, int]:
            async with turn:
                found: Any = await connection.fetch_one(_INSIDE)
            return str(found["uid"]), found["xid"], found["rows"]

        mine = await child()
        seen = await asyncio.gather(*(child() for _ in range(5)))

    assert {mine, *seen} == {(sub, mine[1], 1)}


_INSIDE = """
select auth.uid() as uid, txid_current() as xid, (select count(*) from public.checked) as rows
"""


async def test_a_generator_in_another_task_keeps_the_sessions_user(one: Database) -> None:
    sub = str(uuid4())

    async def stream(connection: Any) -> AsyncIterator[str]:
        for _ in range(3):
            yield str(await connection.fetch_val("select auth.uid()"))

    async def drain(users: AsyncIterator[str]) -> list[str]:
        return [user async for user in users]

    async with one.session({"sub": sub}) as connection:
        assert await asyncio.ensure_future(drain(stream(connection))) == [sub] * 3


async def test_a_connection_is_of_no_use_after_its_session(one: Database) -> None:
    """A child task that outlives the session would otherwise act as the next user."""
    async with one.session({"sub": str(uuid4())}) as left:
        assert await left.fetch_val("select 1") == 1

    async with one.session({"sub": str(uuid4())}):
        with pytest.raises(asyncpg.InterfaceError, match="released"):
            await left.fetch_val("select auth.uid()")
    await assert_whole(one)


async def test_a_session_iterates_and_writes_many_as_its_user(one: Database) -> None:
    sub = str(uuid4())
    async with one.session({"sub": sub}) as connection:
        await connection.execute_many(_INSERT, [{"id": number} for number in range(3)])
        found = connection.iterate("select id, auth.uid() as uid from public.checked order by id")
        assert [(row["id"], str(row["uid"])) async for row in found] == [(n, sub) for n in range(3)]
        assert str(await connection.fetch_val("select auth.uid()")) == sub
    await assert_whole(one)


_INSERT = "insert into public.checked values (:id)"


async def test_a_transaction_inside_a_session_can_be_rolled_back_alone(one: Database) -> None:
    async with one.session({"sub": str(uuid4())}) as connection:
        async with connection.transaction():
            await connection.execute(_INSERT, {"id": 1})
        with pytest.raises(asyncpg.UniqueViolationError):
            async with connection.transaction():
                await connection.execute_many(_INSERT, [{"id": 2}, {"id": 1}])
        assert await connection.fetch_val("select array_agg(id) from public.checked") == [1]
    await assert_whole(one)


async def test_a_transaction_inside_a_session_has_its_isolation(one: Database) -> None:
    async with one.session({"sub": str(uuid4())}) as connection:
        with pytest.raises(ValueError, match="isolation"):
            async with connection.transaction(isolation="serializable"):
                pass
    await assert_whole(one)


async def test_a_session_can_query_while_it_iterates_and_leave_the_loop(one: Database) -> None:
    numbers = "select generate_series(1, 200) as number"
    async with one.session({"sub": str(uuid4())}) as connection, asyncio.timeout(10):
        found = [
            await connection.fetch_val("select :number + 0", {"number": row["number"]})
            async for row in connection.iterate(numbers)
        ]
        async for _ in connection.iterate(numbers):
            break
        await connection.execute(_INSERT, {"id": 1})

    assert found == [*range(1, 201)]
    async with one.session({"sub": str(uuid4())}) as connection:
        assert await connection.fetch_val("select count(*) from public.checked") == 1
    await assert_whole(one)


async def test_what_a_session_left_open_cannot_reach_the_next_one(one: Database) -> None:
    async with one.session({"sub": str(uuid4())}) as connection:
        rows, inner = (
            connection.iterate("select generate_series(1, 1000)"),
            connection.transaction(),
        )
        await anext(rows)
        _ = await inner

    async with one.session({"sub": str(uuid4())}) as connection:
        with pytest.raises(asyncpg.InterfaceError, match="released"):
            await anext(rows)
        with pytest.raises(asyncpg.InterfaceError, match="released"):
            await inner.rollback()
        assert await connection.fetch_val("select 1") == 1
    await assert_whole(one)


async def test_no_call_fails_after_an_idle_backend_was_killed(
    one: Database, prepared: TestDatabase
) -> None:
    first = (await peek(one))["pid"]
    await _kill(prepared, first)

    assert (await peek(one))["pid"] != first


async def test_a_backend_killed_in_a_session_fails_it_and_no_other(
    one: Database, prepared: TestDatabase
) -> None:
    with pytest.raises(Unavailable):  # noqa: PT012  # the session is what raises, at its end
        async with one.session({"sub": str(uuid4())}) as connection:
            await _kill(prepared, await connection.fetch_val("select pg_backend_pid()"))
            await connection.fetch_val("select 1")

    await assert_whole(one)


async def _kill(database: TestDatabase, pid: int) -> None:
    async with superuser(database) as killer:
        assert await killer.fetchval("select pg_terminate_backend($1, 5000)", pid)


@pytest.mark.parametrize("fails", [False, True])
async def test_no_setting_of_a_user_is_left_on_the_connection(
    one: Database, prepared: TestDatabase, fails: bool
) -> None:
    claims = await admit(prepared)
    await begin(one, claims)
    if fails:
        with pytest.raises(Refused):
            await begin(one, claims, run_request("other words"))
        with pytest.raises(asyncpg.DivisionByZeroError):
            async with one.session(claims) as connection:
                await connection.execute("select 1 / 0")
    else:
        async with one.session(claims) as connection:
            assert await connection.fetch_val("show statement_timeout") == "2s"

    await assert_whole(one)


@pytest.mark.parametrize("name", ["peek()", "peek; select 1", "a.b", "Peek", "peek\n", "", 'p"k'])
async def test_only_an_identifier_can_be_called_as_a_function(one: Database, name: str) -> None:
    for call in (one.call, one.rows):
        with pytest.raises(ValueError, match="not the name of a function"):
            await call(name)


async def test_a_refusal_carries_its_code(one: Database, prepared: TestDatabase) -> None:
    with pytest.raises(Refused) as refused:
        await one.call("find_run", await admit(prepared), "no-such-run", None)

    assert refused.value.code == "run_not_found"


async def test_an_error_never_quotes_the_row_it_is_about(database: TestDatabase) -> None:
    user = await admit(database)
    async with connected(database.url) as db:
        with pytest.raises(asyncpg.CheckViolationError) as failed:
            await db.call("write_note", user, None, "", "canary of a note")

    assert "canary" not in str(failed.value)
