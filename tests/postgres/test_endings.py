"""Endings and the queue: an ending returns the next waiting run, also when a result was lost."""

from typing import Any

from shared.core.json import Json
from shared.database.pool import Database
from tests.fixtures.database import TestDatabase
from tests.postgres.holders import begin, entry, row, run_request

ENDING = "run.completed"


async def ended(db: Database, leased: Json) -> Any:
    (verdict,) = await db.rows("append_events", [entry(leased, row(2, ENDING))])
    return verdict


async def queued_after(db: Database, user: Json) -> tuple[Json, str]:
    """A live run, and the run that waits for it."""
    first = await begin(db, user)
    second = await begin(db, user, {**run_request(run="run-2"), "busy": "enqueue"})
    return first, second["run_id"]


async def test_an_ending_returns_the_waiting_run(db: Database, user: Json) -> None:
    first, second = await queued_after(db, user)

    verdict = await ended(db, first)

    assert (verdict["verdict"], str(verdict["next_queued_run"])) == ("ok", second)


async def test_an_ending_whose_answer_was_lost_returns_the_waiting_run_again(
    db: Database, user: Json
) -> None:
    first, second = await queued_after(db, user)
    await ended(db, first)

    again = await ended(db, first)

    assert (again["verdict"], str(again["next_queued_run"])) == ("ok", second)
    assert await db.call(
        "claim_run", second, {"seconds": 30, "max_unfinished_attempts": 3, "history": 10}
    )
    stale = await ended(db, {**first, "token": "00000000-0000-0000-0000-000000000000"})
    assert stale["verdict"] == "lost", "only the holder that ended it gets the waiting run"


async def test_an_ending_waits_for_an_admission_of_its_thread(
    db: Database, user: Json, database: TestDatabase
) -> None:
    first = await begin(db, user)
    async with database.owner() as owner:
        async with owner.transaction():
            # An admission holds this lock. Without it neither would see the other, and the waiting run would not start.
            await owner.execute("select from agent.thread for no key update")
            assert (await ended(db, first))["verdict"] == "busy"
        assert (await ended(db, first))["verdict"] == "ok"
