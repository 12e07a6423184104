"""A deleted thread is closed to the agent, its runs end, and its rows are removed in batches when they are due."""

import asyncio
from datetime import timedelta

import pytest

from shared.core.json import Json
from shared.core.settings import Settings
from shared.database.pool import Database, Refused
from shared.runs.results import EndedByClaim
from shared.runs.store import RunStore
from tests.doubles import ModelServer, says
from tests.fixtures.database import TestDatabase
from tests.fixtures.functions import Served, run_input
from tests.fixtures.waiting import until_true
from tests.postgres.holders import LEASE, append, begin, entry, expire, message, row, run_request

_LIMITS: Json = {"daily_tokens": 0, "max_hours": 24}
_HOURS = [timedelta(hours=hours) for hours in (1, 720, 24)]


async def delete(db: Database, user: Json, thread: str = "thread-1") -> None:
    await db.call("delete_thread", user, thread, None, "request-1")


async def count(database: TestDatabase, table: str) -> int:
    async with database.owner() as owner:
        return int(await owner.fetchval(f"select count(*) from agent.{table}"))


async def let_pass(database: TestDatabase, hours: int) -> None:
    """Make all deletions look so long ago."""
    async with database.owner() as owner:
        await owner.execute(
            f"update agent.thread set deleted_at = now() - interval '{hours} hours'"
            " where deleted_at is not null"
        )


async def test_the_agent_refuses_requests_for_a_deleted_thread(
    agent: Served, model: ModelServer
) -> None:
    person = await agent.person()
    model.will(says("a"))
    await person.run(run_input("hi"))
    async with agent.database.owner() as owner:
        await owner.execute("update agent.thread set deleted_at = now()")

    for run in ("run-1", "run-2"):
        refused = await person.request("POST", "/runs", run_input("hi", run=run))
        assert (refused.status_code, refused.json()["code"]) == (410, "thread_deleted")
    for method, path in (
        ("GET", "/runs/run-1"),
        ("GET", "/runs/run-1/events"),
        ("POST", "/runs/run-1/cancel"),
    ):
        gone = await person.request(method, path)
        assert (gone.status_code, gone.json()["code"]) == (404, "run_not_found"), path
    lost = await person.request("POST", "/connect", {"threadId": "thread-1"})
    assert lost.json()["code"] == "run_not_found"


async def test_a_run_whose_holder_died_in_a_deleted_thread_ends_at_the_next_claim(
    db: Database, user: Json, database: TestDatabase
) -> None:
    leased = await begin(db, user)
    await delete(db, user)
    await expire(database, leased)

    assert (await db.rows("sweep_runs", 10))[0]["sweep_runs"]
    assert await db.call("claim_run", leased["run_id"], LEASE, _LIMITS) == {"next_queued_run": None}

    async with database.owner() as owner:
        assert await owner.fetchval("select status from agent.run") == "cancelled"
    assert await append(db, entry(leased, row(2, "run.completed"))) == ["lost"]
    assert await db.call("claim_run", leased["run_id"], LEASE, _LIMITS) is None


async def test_a_deletion_and_a_new_run_at_once_leave_nothing_running(
    db: Database, user: Json, database: TestDatabase
) -> None:
    for number in range(10):
        thread = f"thread-{number}"
        await db.call("create_thread", user, thread, None, {}, None, "")
        await asyncio.gather(
            begin(db, user, run_request(run=f"run-{number}", thread=thread)),
            delete(db, user, thread),
            return_exceptions=True,
        )

    async with database.owner() as owner:
        running = """select count(*) from agent.thread join agent.run on run.thread_id = thread.id
                      left join agent.lease on run_id = run.id
                      where deleted_at is not null and ended_at is null and cancel_requested_at is null"""
        assert await owner.fetchval(running) == 0
        assert (
            await owner.fetchval("select count(*) from agent.thread where deleted_at is null") == 0
        )


async def test_an_ending_is_activity(db: Database, user: Json, database: TestDatabase) -> None:
    leased = await begin(db, user)
    async with database.owner() as owner:
        await owner.execute("update agent.thread set updated_at = 'yesterday'")
        await append(db, entry(leased, row(2, "run.completed")))
        assert await owner.fetchval(
            "select updated_at > now() - interval '1 min' from agent.thread"
        )


async def test_a_cancel_does_not_deadlock_with_an_admission(
    db: Database, user: Json, database: TestDatabase
) -> None:
    """The ending of a cancel touches the thread, which an admission has locked while it waits for the run."""
    leased = await begin(db, user)
    await expire(database, leased)
    async with database.owner() as admission:
        await admission.execute("begin")
        await admission.execute("select from agent.thread for no key update")
        async with asyncio.timeout(5):
            cancelled = await db.call("cancel_run", user, "run-1", "request-1")
        assert cancelled["status"] == "cancelled"
        await admission.execute("rollback")


async def test_rows_are_removed_when_they_are_due_and_other_rows_stay(
    db: Database, user: Json, database: TestDatabase
) -> None:
    leased = await begin(db, user)
    await append(
        db,
        entry(
            leased,
            *message(2, "6b0f4f52-3f0e-4c39-9d2b-6a0f2f4f3f00", "x"),
            row(5, "run.completed"),
        ),
    )
    await begin(db, user, run_request(run="other", thread="other"))
    await delete(db, user)

    await let_pass(database, 23)
    assert await db.call("prune", *_HOURS, 100) == 0
    await let_pass(database, 25)
    assert await db.call("prune", *_HOURS, 100) == 4, "two items, a run, a thread"

    assert [await count(database, t) for t in ("thread", "run", "item")] == [1, 1, 1]
    async with database.owner() as owner:
        assert await owner.fetchval("select client_thread_id from agent.thread") == "other"
    assert (await begin(db, user, run_request(run="again")))["outcome"] == "leased", (
        "the id is free again"
    )


async def test_a_large_thread_is_removed_in_batches(
    db: Database, user: Json, database: TestDatabase
) -> None:
    leased = await begin(db, user)
    await append(db, entry(leased, row(2, "run.completed")))
    async with database.owner() as owner:
        await owner.execute(
            "insert into agent.item (thread_id, owner, key, kind, data)"
            " select id, owner, 'i' || n, 'message', '{}' from agent.thread, generate_series(1, 12000) n"
        )
    await delete(db, user)
    await let_pass(database, 25)

    left = []
    while await db.call("prune", *_HOURS, 100):
        left.append(await count(database, "item"))
    assert left == [7001, 2001, 0]
    assert await count(database, "thread") == 0


async def test_a_held_run_is_not_removed(db: Database, user: Json, database: TestDatabase) -> None:
    leased = await begin(db, user)
    await delete(db, user)
    await let_pass(database, 25)

    assert await db.call("prune", *_HOURS, 100) == 0
    assert await append(db, entry(leased, row(2, "run.cancelled"))) == ["cancel"]
    assert await db.call("prune", *_HOURS, 100) == 3


async def test_a_deletion_gives_no_new_tokens(
    db: Database, user: Json, database: TestDatabase
) -> None:
    leased = await begin(db, user)
    spent = row(2, "turn.finished", usage={"input_tokens": 60, "output_tokens": 10})
    await append(db, entry(leased, spent, row(3, "run.completed")))
    await delete(db, user)
    assert await db.call("tokens_left", user["sub"], 100) == 30

    await let_pass(database, 25)
    await db.call("prune", *_HOURS, 100)

    assert await count(database, "turn_usage") == 0
    assert await db.call("tokens_left", user["sub"], 100) == 30
    with pytest.raises(Refused, match="budget_exceeded"):
        await db.call(
            "start_run", user, run_request(run="x"), LEASE, {**_LIMITS, "daily_tokens": 70}
        )


async def test_a_claim_that_waits_for_a_deletion_takes_no_run(
    database: TestDatabase, db: Database, user: Json
) -> None:
    leased = await begin(db, user)
    await expire(database, leased)
    store = RunStore(db, Settings(takeover_grace_seconds=0.0))
    async with database.owner() as owner, owner.transaction():
        await owner.execute("update agent.thread set deleted_at = now()")
        claim = asyncio.ensure_future(store.claim(leased["run_id"], ["assistant"]))
        await until_true(database, "exists (select from pg_locks where not granted)")
    assert await claim is None

    assert await store.claim(leased["run_id"], ["assistant"]) == EndedByClaim(None)
    async with database.owner() as owner:
        assert await owner.fetchval("select status from agent.run") == "cancelled"
