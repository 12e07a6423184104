"""Postgres limits a user's concurrent calls over all processes, also after a process died."""

import asyncio
from contextlib import AsyncExitStack
from uuid import NAMESPACE_OID, uuid5

from shared.core.settings import Settings
from shared.database.pool import Database
from shared.mcp.slots import Slots
from tests.fixtures.database import TestDatabase
from tests.postgres.holders import (
    LEASE,
    admit,
    append,
    begin,
    connected,
    entry,
    expire,
    row,
    run_request,
)


async def take(
    db: Database, run_id: str, call: str, *, slots: int = 2, seconds: float = 60
) -> bool:
    token = uuid5(NAMESPACE_OID, call)
    return bool(await db.call("take_call_slot", run_id, call, token, slots, seconds))


async def test_the_slots_of_a_user_are_shared_by_all_runs(database: TestDatabase) -> None:
    user, other = await admit(database), await admit(database)
    async with connected(database.url) as db:
        first = (await begin(db, user, run_request(run="r1", thread="t1")))["run_id"]
        second = (await begin(db, user, run_request(run="r2", thread="t2")))["run_id"]
        others = (await begin(db, other))["run_id"]

        assert await take(db, first, "a")
        assert await take(db, second, "b")
        assert not await take(db, second, "c")
        assert await take(db, others, "d")
        await db.call("free_call_slot", first, uuid5(NAMESPACE_OID, "a"))
        assert await take(db, second, "c")


async def test_concurrent_requests_never_get_more_slots_than_the_limit(
    database: TestDatabase,
) -> None:
    user = await admit(database)
    async with connected(database.url, database_connections=8) as db:
        run_id = (await begin(db, user))["run_id"]
        taken = await asyncio.gather(*(take(db, run_id, f"call-{n}", slots=3) for n in range(24)))

    assert 1 <= sum(taken) <= 3


async def test_the_slots_of_a_holder_that_died_are_free_after_the_takeover(
    database: TestDatabase,
) -> None:
    user = await admit(database)
    async with connected(database.url) as db:
        leased = await begin(db, user)
        assert await take(db, leased["run_id"], "a", slots=1)
        await expire(database, leased)
        assert not await take(db, leased["run_id"], "b", slots=1), "it may only be late"

        again = await db.call(
            "claim_run", leased["run_id"], {**LEASE, "grace": 0}, {"max_hours": 24}
        )
        if "suspected" in again:
            again = await db.call(
                "claim_run", leased["run_id"], {**LEASE, "grace": 0}, {"max_hours": 24}
            )
        assert again["attempt"] == 2
        assert await take(db, leased["run_id"], "b", slots=1)


async def test_an_ended_run_and_a_call_that_took_too_long_hold_no_slot(
    database: TestDatabase,
) -> None:
    user = await admit(database)
    async with connected(database.url) as db:
        first = await begin(db, user, run_request(run="r1", thread="t1"))
        second = (await begin(db, user, run_request(run="r2", thread="t2")))["run_id"]
        assert await take(db, first["run_id"], "a", slots=1)
        ended = entry(first, row(first["last_seq"] + 1, "run.completed", usage={}), closes=True)
        assert await append(db, ended) == ["ok"]

        assert await take(db, second, "b", slots=1, seconds=0)
        assert await take(db, second, "c", slots=1)


async def test_a_late_holder_frees_no_slot_of_the_next_holder(
    database: TestDatabase,
) -> None:
    user = await admit(database)
    settings = Settings(tool_calls_at_once=1)
    async with connected(database.url) as db, AsyncExitStack() as late:
        leased = await begin(db, user)
        held = (user["sub"], leased["run_id"], "a")
        await late.enter_async_context(Slots(db, settings).hold(*held))
        await expire(database, leased)
        async with database.owner() as owner:
            await owner.execute(
                "update agent.lease set attempt = 2, until = now() + interval '1 min'"
            )
        async with Slots(db, settings).hold(*held):
            await late.aclose()
            assert not await take(db, leased["run_id"], "b", slots=1), "it is the new holder's"
        assert await take(db, leased["run_id"], "b", slots=1)
