"""The rules of the log, which the database enforces on each append."""

import asyncio
from uuid import uuid4

import asyncpg
import pytest

from shared.core.json import Json
from shared.database.pool import Database
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


@pytest.fixture
async def leased(db: Database, user: Json) -> Json:
    return await begin(db, user)


def key() -> str:
    return str(uuid4())


async def test_a_log_has_no_gap(db: Database, database: TestDatabase, leased: Json) -> None:
    assert leased["last_seq"] == 1
    for seqs in ([3], [100], [2, 4], [2, 3, 3], [2, 2, 4]):
        with pytest.raises(asyncpg.PostgresError):
            await append(db, entry(leased, *(row(seq, "custom") for seq in seqs)))

    assert await log_of(database, leased["run_id"]) == [(1, 1, "run.started")]


@pytest.mark.parametrize("what", ["wrong token", "no token", "no run", "old token"])
async def test_only_the_holders_token_appends(
    db: Database, database: TestDatabase, leased: Json, what: str
) -> None:
    forged = dict(leased)
    match what:
        case "wrong token":
            forged["token"] = key()
        case "no token":
            forged["token"] = None
        case "no run":
            forged["run_id"] = key()
        case _:
            await expire(database, leased)
            await db.call("claim_run", leased["run_id"], LEASE)
    before = await log_of(database, leased["run_id"])

    last = entry(forged, row(2, "run.completed"))
    assert await append(db, entry(forged, row(2, "custom"))) == ["lost"]
    assert await append(db, last) == ["lost"]

    assert await log_of(database, leased["run_id"]) == before


async def test_a_batch_that_arrives_twice_is_written_once(
    db: Database, database: TestDatabase, leased: Json
) -> None:
    batch = entry(leased, *message(2, key(), "hello"), closes=True)
    assert await append(db, batch) == ["ok"]
    assert await append(db, batch) == ["ok"]
    longer = {**batch, "rows": [*batch["rows"], row(5, "custom")]}
    assert await append(db, longer) == ["ok"]

    assert [seq for _, seq, _ in await log_of(database, leased["run_id"])] == [1, 2, 3, 4, 5]
    async with database.owner() as owner:
        assert await owner.fetchval("select count(*) from agent.item") == 2


async def test_a_batch_that_grew_since_it_was_written_is_written_from_there(
    db: Database, database: TestDatabase, leased: Json
) -> None:
    item = key()
    head = row(2, "item.started", item, kind="message")
    await append(db, entry(leased, head, deltas(3, item, "a", "b")))

    await append(db, entry(leased, head, deltas(3, item, "a", "b", "c", "d"), row(7, "custom")))

    async with database.owner() as owner:
        rows = await owner.fetch(
            "select seq, count, data ->> 'deltas' as deltas from agent.run_event"
        )
    written = [(r["seq"], r["count"], r["deltas"]) for r in rows][2:]
    assert written == [(3, 2, '["a", "b"]'), (5, 2, '["c", "d"]'), (7, 1, None)]


def deltas(seq: int, item_id: str, *texts: str) -> Json:
    rows = row(seq, "item.delta", item_id, channel="text", deltas=list(texts))
    return {**rows, "count": len(texts)}


async def test_a_batch_that_arrives_late_moves_nothing(db: Database, leased: Json) -> None:
    old = entry(leased, row(2, "custom"))
    await append(db, old)
    await append(db, entry(leased, row(3, "custom")))

    assert await append(db, old) == ["ok"]
    assert await append(db, entry(leased, row(4, "custom"))) == ["ok"]


async def test_an_ending_that_arrives_twice_is_ok_and_written_once(
    db: Database, database: TestDatabase, leased: Json
) -> None:
    ending = entry(leased, row(2, "run.completed", pending_calls=[]))
    assert await append(db, ending) == ["ok"]
    assert await append(db, ending) == ["ok"]

    assert len(await log_of(database, leased["run_id"])) == 2


async def test_nothing_is_written_after_an_ending(
    db: Database, database: TestDatabase, leased: Json
) -> None:
    await append(db, entry(leased, row(2, "run.completed")))

    await append(db, entry(leased, row(3, "custom")))
    await append(db, entry(leased, row(3, "run.failed", code="x", message="x")))

    assert len(await log_of(database, leased["run_id"])) == 2
    async with database.owner() as owner:
        with pytest.raises(asyncpg.UniqueViolationError):
            await owner.execute(
                "insert into agent.run_event (run_id, seq, attempt, type)"
                " values ($1, 3, 1, 'run.failed')",
                leased["run_id"],
            )


@pytest.mark.parametrize("status", ["completed", "incomplete", "cancelled", "failed"])
async def test_an_ending_is_the_runs_status(
    db: Database, user: Json, leased: Json, status: str
) -> None:
    await append(db, entry(leased, row(2, f"run.{status}", code="c")))

    found = await db.call("find_run", user, "run-1", None)
    assert (found["status"], found["ending"], found["is_held"]) == (status, {"code": "c"}, False)


async def test_a_completed_item_is_in_the_thread_and_an_aborted_one_is_not(
    db: Database, user: Json, leased: Json
) -> None:
    first, second = key(), key()
    rows = [*message(2, first, "wrong"), row(5, "item.aborted", first), *message(6, second, "ok")]
    await append(db, entry(leased, *rows[:4]), entry_without_a_run())
    await append(db, entry(leased, *rows[4:]))

    snapshot = await db.call("read_snapshot", user, leased["run_id"])
    assert [item["key"] for item in snapshot["items"]] == ["message-of-run-1", second]


def entry_without_a_run() -> Json:
    return entry({"run_id": key(), "token": key()}, row(2, "custom"))


async def test_one_bad_entry_fails_its_batch_and_none_of_the_others_alone(
    db: Database, database: TestDatabase, user: Json, leased: Json
) -> None:
    other = await begin(db, user, run_request(run="run-2", thread="thread-2"))
    good, bad = entry(leased, row(2, "custom")), entry(other, row(9, "custom"))
    with pytest.raises(asyncpg.PostgresError):
        await append(db, good, bad)
    assert len(await log_of(database, leased["run_id"])) == 1, "nothing of a failed batch stays"

    assert await append(db, good) == ["ok"]
    with pytest.raises(asyncpg.PostgresError):
        await append(db, bad)


async def test_a_locked_run_is_busy_at_once_and_the_others_are_written(
    db: Database, database: TestDatabase, user: Json, leased: Json
) -> None:
    other = await begin(db, user, run_request(run="run-2", thread="thread-2"))
    batch = [entry(leased, row(2, "custom")), entry(other, row(2, "custom"))]
    async with database.owner() as owner, owner.transaction():
        await owner.execute(
            "select from agent.lease where run_id = $1 for update", leased["run_id"]
        )
        async with asyncio.timeout(2):
            assert await append(db, *batch) == ["busy", "ok"]
            assert await db.call("claim_run", leased["run_id"], LEASE) is None

    assert await append(db, *batch) == ["ok", "ok"]


async def test_a_tick_that_waits_for_a_reader_does_not_exist(
    db: Database, database: TestDatabase, leased: Json
) -> None:
    async with database.owner() as owner, owner.transaction():
        await owner.fetch("select * from agent.run_event, agent.run, agent.item, agent.thread")
        async with asyncio.timeout(2):
            assert await append(db, entry(leased, *message(2, key(), "x"))) == ["ok"]


async def test_an_empty_append_renews_the_lease(
    db: Database, database: TestDatabase, leased: Json
) -> None:
    await expire(database, leased)
    assert await append(db, entry(leased)) == ["ok"], "late, but no process took it over"

    assert await db.call("claim_run", leased["run_id"], LEASE) is None


async def test_the_next_queued_run_of_the_thread_comes_with_the_ending(
    db: Database, user: Json, leased: Json
) -> None:
    queued = [await begin(db, user, run_request(run=f"run-{n}", busy="enqueue")) for n in (2, 3)]
    await begin(db, user, run_request(run="run-4", thread="thread-2"))
    assert await db.call("claim_run", queued[0]["run_id"], LEASE) is None, "one is live"

    (verdict,) = await db.rows("append_events", [entry(leased, row(2, "run.completed"))])

    assert str(verdict["next_queued_run"]) == queued[0]["run_id"]
    assert (await db.call("claim_run", queued[0]["run_id"], LEASE))["outcome"] == "leased"
    assert await db.call("claim_run", queued[1]["run_id"], LEASE) is None


async def test_a_released_run_can_be_claimed_and_a_forged_release_has_no_effect(
    db: Database, leased: Json
) -> None:
    await db.call("release_runs", [{"run_id": leased["run_id"], "token": key()}])
    assert await db.call("claim_run", leased["run_id"], LEASE) is None

    await db.call("release_runs", [{"run_id": leased["run_id"], "token": leased["token"]}])
    again = await db.call("claim_run", leased["run_id"], LEASE)
    assert (again["attempt"], again["claims"]) == (2, leased["claims"])


async def test_many_concurrent_claims_of_a_run_give_one_holder(
    db: Database, database: TestDatabase, leased: Json
) -> None:
    await expire(database, leased)

    claims = await asyncio.gather(
        *(db.call("claim_run", leased["run_id"], LEASE) for _ in range(16))
    )

    assert sum(claim is not None for claim in claims) == 1
