"""Starting, claiming, cancelling and resuming runs: the database decides who may."""

import asyncio
from collections import Counter
from uuid import uuid4

import pytest

from shared.core.json import Json
from shared.database.pool import Database, Refused
from tests.fixtures.database import TestDatabase
from tests.postgres.holders import (
    LEASE,
    append,
    begin,
    entry,
    expire,
    log_of,
    message,
    row,
    run_request,
)


async def tries(db: Database, user: Json, request: Json) -> str:
    try:
        return str((await begin(db, user, request))["outcome"])
    except Refused as refused:
        return refused.code


@pytest.mark.parametrize(("busy", "others"), [("reject", "thread_busy"), ("enqueue", "queued")])
async def test_many_starts_at_once_give_one_live_run(
    db: Database, database: TestDatabase, user: Json, busy: str, others: str
) -> None:
    outcomes = await asyncio.gather(
        *(tries(db, user, run_request(run=f"run-{n}", busy=busy)) for n in range(16))
    )

    assert Counter(outcomes) == {"leased": 1, others: 15}
    async with database.owner() as owner:
        live = "select count(*) from agent.run where status = 'in_progress'"
        assert await owner.fetchval(live) == 1
        assert await owner.fetchval("select count(*) from agent.thread") == 1


async def test_the_same_run_id_at_once_is_one_run(
    db: Database, database: TestDatabase, user: Json
) -> None:
    outcomes = await asyncio.gather(*(tries(db, user, run_request()) for _ in range(16)))

    assert Counter(outcomes) == {"leased": 1, "attached": 15}
    async with database.owner() as owner:
        assert await owner.fetchval("select count(*) from agent.item") == 1


async def test_the_same_run_id_at_once_on_many_threads_is_one_run(db: Database, user: Json) -> None:
    outcomes = await asyncio.gather(
        *(tries(db, user, run_request(thread=f"t{n}")) for n in range(8))
    )

    assert Counter(outcomes) == {"leased": 1, "run_id_reused": 7}


async def test_a_refused_start_leaves_no_row(
    db: Database, database: TestDatabase, user: Json
) -> None:
    assert await tries(db, user, run_request(messages=[])) == "nothing_to_answer"
    assert await tries(db, user, run_request(rewind_to="nowhere")) == "rewind_target_unknown"

    async with database.owner() as owner:
        for table in ("thread", "run", "item", "lease", "run_secret", "run_event"):
            assert await owner.fetchval(f"select count(*) from agent.{table}") == 0, table


async def test_a_takeover_aborts_the_open_turn_and_keeps_the_closed_ones(
    db: Database, database: TestDatabase, user: Json
) -> None:
    closed, done, half = (str(uuid4()) for _ in range(3))
    leased = await begin(db, user)
    await append(db, entry(leased, *message(2, closed, "stays"), closes=True))
    await append(db, entry(leased, *message(5, done, "goes"), *message(8, half, "half")[:2]))
    await expire(database, leased)

    taken = await db.call("claim_run", leased["run_id"], LEASE)

    assert (taken["attempt"], taken["base"], taken["last_seq"]) == (2, 9, 11)
    aborted = [(event["type"], event["item_id"]) for event in taken["events"]]
    assert aborted == [("item.aborted", done), ("item.aborted", half)]
    assert [item["key"] for item in taken["items"]] == ["message-of-run-1", closed]
    assert await append(db, entry(leased, row(10, "custom"))) == ["lost"]
    assert await append(db, entry(taken, *message(12, str(uuid4()), "again"))) == ["ok"]
    attempts = [attempt for attempt, _, _ in await log_of(database, leased["run_id"])]
    assert attempts == [1] * 9 + [2] * 5


async def test_a_second_takeover_does_not_abort_an_item_twice(
    db: Database, database: TestDatabase, user: Json
) -> None:
    leased = await begin(db, user)
    await append(db, entry(leased, *message(2, str(uuid4()), "x")[:2]))
    for _ in range(2):
        await expire(database, leased)
        await db.call("claim_run", leased["run_id"], LEASE)

    types = [type_ for _, _, type_ in await log_of(database, leased["run_id"])]
    assert types == ["run.started", "item.started", "item.delta", "item.aborted"]


async def test_attempts_at_one_turn_are_limited_and_a_closed_turn_resets_the_count(
    db: Database, database: TestDatabase, user: Json
) -> None:
    leased = await begin(db, user, max_unfinished_attempts=2)
    lease = {**LEASE, "max_unfinished_attempts": 2}
    await expire(database, leased)
    second = await db.call("claim_run", leased["run_id"], lease)
    await append(db, entry(second, *message(2, str(uuid4()), "x"), closes=True))
    for _ in range(2):
        await expire(database, leased)
        assert await db.call("claim_run", leased["run_id"], lease) or True

    await expire(database, leased)
    assert await db.call("claim_run", leased["run_id"], lease) == {"next_queued_run": None}
    found = await db.call("find_run", user, "run-1", None)
    assert (found["status"], found["ending"]["code"]) == ("failed", "too_many_attempts")
    assert found["attempt"] == 5, "two attempts at each of the two turns, and one for the ending"


async def test_a_valid_lease_cannot_be_taken(db: Database, user: Json) -> None:
    leased = await begin(db, user)

    assert await db.call("claim_run", leased["run_id"], LEASE) is None


async def cancel(db: Database, user: Json, run: str = "run-1") -> str:
    return str((await db.call("cancel_run", user, run, "request-1"))["status"])


async def test_the_holder_of_a_cancelled_run_learns_it(db: Database, user: Json) -> None:
    leased = await begin(db, user)

    assert await cancel(db, user) == "in_progress"

    assert await append(db, entry(leased)) == ["cancel"]
    assert await append(db, entry(leased, row(2, "run.cancelled"))) == ["cancel"]
    assert await cancel(db, user) == "cancelled"


async def test_cancelling_a_run_that_no_process_holds_ends_it(
    db: Database, database: TestDatabase, user: Json
) -> None:
    leased = await begin(db, user)
    queued = await begin(db, user, run_request(run="run-2", busy="enqueue"))
    assert await cancel(db, user, "run-2") == "cancelled"
    await expire(database, leased)
    assert await cancel(db, user) == "cancelled"

    for run in (leased, queued):
        assert (await log_of(database, run["run_id"]))[-1][2] == "run.cancelled"
        assert await db.call("claim_run", run["run_id"], LEASE) is None
    assert await append(db, entry(leased, row(2, "custom"))) == ["lost"]


async def test_cancelling_an_ended_run_changes_nothing(
    db: Database, database: TestDatabase, user: Json
) -> None:
    leased = await begin(db, user)
    await append(db, entry(leased, row(2, "run.completed")))

    assert await cancel(db, user) == "completed"
    assert len(await log_of(database, leased["run_id"])) == 2


async def test_a_cancel_and_an_ending_at_once_are_one_ending(
    db: Database, database: TestDatabase, user: Json
) -> None:
    for nth in range(10):
        run, thread = f"run-{nth}", f"thread-{nth}"
        leased = await begin(db, user, run_request(run=run, thread=thread))
        await expire(database, leased)
        ending = entry(leased, row(2, "run.completed"))

        (verdict,), status = await asyncio.gather(append(db, ending), cancel(db, user, run))

        if verdict == "busy":
            (verdict,) = await append(db, ending)
        types = [type_ for _, _, type_ in await log_of(database, leased["run_id"])]
        assert types == ["run.started", f"run.{status}"]
        assert verdict == ("ok" if status == "completed" else "lost")


async def test_every_cancel_leaves_an_audit_event(
    db: Database, database: TestDatabase, user: Json
) -> None:
    await begin(db, user)
    await cancel(db, user)
    await cancel(db, user)

    async with database.owner() as owner:
        rows = await owner.fetch("select owner, action, outcome from agent.audit_event")
    assert {(str(r["owner"]), r["action"], r["outcome"]) for r in rows} == {
        (user["sub"], "run.cancel", "accepted")
    }
