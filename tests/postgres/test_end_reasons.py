"""Open items of a run that ended without a holder have the reason of its ending, in the log and in the audit."""

import json
from uuid import uuid4

import pytest

from shared.core.events import Draft
from shared.core.json import Json
from shared.database.pool import Database
from shared.runs.outbox import OpenItems
from tests.fixtures.database import TestDatabase
from tests.postgres.holders import LEASE, append, begin, entry, expire, row


async def cancel(db: Database, user: Json, run_id: str, database: TestDatabase) -> None:
    await db.call("cancel_run", user, "run-1", "request-1")


async def delete(db: Database, user: Json, run_id: str, database: TestDatabase) -> None:
    await db.call("delete_thread", user, "thread-1", None, "request-1")


async def outlive(db: Database, user: Json, run_id: str, database: TestDatabase) -> None:
    async with database.owner() as owner:
        await owner.execute("update agent.run set created_at = now() - interval '25 hours'")
    await db.call("claim_run", run_id, LEASE, {"max_hours": 24})


async def stall(db: Database, user: Json, run_id: str, database: TestDatabase) -> None:
    async with database.owner() as owner:
        await owner.execute("update agent.lease set stalled_attempts = 3")
    await db.call("claim_run", run_id, {**LEASE, "max_stalled_attempts": 3}, {})


async def crash(db: Database, user: Json, run_id: str, database: TestDatabase) -> None:
    await db.call("claim_run", run_id, {**LEASE, "max_unfinished_attempts": 1}, {})


@pytest.mark.parametrize(
    ("finish", "reason", "code"),
    [
        (cancel, "cancelled", None),
        (delete, "cancelled", None),
        (outlive, "failed", "run_too_old"),
        (stall, "failed", "run_stalled"),
        (crash, "failed", "too_many_attempts"),
    ],
)
async def test_open_items_get_the_reason_of_their_runs_ending(
    database: TestDatabase, db: Database, user: Json, finish: object, reason: str, code: str | None
) -> None:
    leased = await begin(db, user)
    call, result = str(uuid4()), str(uuid4())
    done = {"name": "pay", "arguments": "{}", "call_id": call}
    calls = [
        row(2, "item.started", call, kind="tool_call"),
        row(3, "item.completed", call, kind="tool_call", item=done),
        row(4, "item.started", result, kind="tool_result", call_id=call),
    ]
    assert await append(db, entry(leased, *calls, closes=True)) == ["ok"]
    if finish is crash:
        async with database.owner() as owner:
            await owner.execute("update agent.lease set unfinished_attempts = 1")
    await expire(database, leased)
    await finish(db, user, leased["run_id"], database)  # type: ignore[operator]  # one of those above

    async with database.owner() as owner:
        log = await owner.fetch("select type, data from agent.run_event where seq > 4 order by seq")
        audited = await owner.fetchval(
            "select outcome from agent.audit_event where action = 'tool.call' and subject = 'pay'"
        )
    aborted, ending = log
    assert (aborted["type"], json.loads(aborted["data"])) == ("item.aborted", {"reason": reason})
    assert ending["type"] == f"run.{reason}"
    assert json.loads(ending["data"]).get("code") == code
    assert audited == reason


@pytest.mark.parametrize("reason", ["cancelled", "failed", "incomplete"])
def test_a_holder_closes_its_open_items_for_the_same_reasons(reason: str) -> None:
    items = OpenItems()
    items.note([Draft("item.started", "call-1", {"kind": "tool_call"})])
    assert items.close(reason) == [Draft("item.aborted", "call-1", {"reason": reason})]
