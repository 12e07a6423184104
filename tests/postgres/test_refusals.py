"""Claims by processes that cannot execute a run's agent, and what becomes of a run that runners refuse."""

from typing import Any

import asyncpg
import pytest

from shared.core.json import Json
from shared.database.pool import Database
from tests.fixtures.database import TestDatabase
from tests.postgres.holders import LEASE, append, begin, entry, log_of, row, run_request

_KNOWS = {**LEASE, "grace": 1, "agents": ["sales", "support"]}
_KNOWS_NOT = {**LEASE, "grace": 1, "agents": ["sales"]}


async def wait(db: Database, user: Json, **more: Any) -> str:
    """A run of the agent `support` that waits. Returns its id."""
    request = run_request(agent="support", **more)
    return str((await db.call("start_run", user, request, None, {}))["run_id"])


async def lease_of(database: TestDatabase, run_id: str) -> Json:
    async with database.owner() as owner:
        found = await owner.fetchrow("select * from agent.lease where run_id = $1", run_id)
    assert found
    return dict(found)


async def pass_time(database: TestDatabase, minutes: float) -> None:
    """Let the last refusal be so long ago."""
    async with database.owner() as owner:
        await owner.execute(
            "update agent.lease set refused_at = refused_at - make_interval(secs => $1::double precision * 60)",
            minutes,
        )


async def refuse(
    db: Database,
    database: TestDatabase,
    run_id: str,
    times: int,
    *,
    minutes: float = 0,
    reason: str = "agent_gone",
) -> Json | None:
    """Refuse a run so often, with this time before each refusal. Returns the last answer."""
    answer: Json | None = None
    for _ in range(times):
        await pass_time(database, minutes)
        answer = await db.call("refuse_run", run_id, reason)
    return answer


async def status_of(db: Database, user: Json, run: str = "run-1") -> str:
    return str((await db.call("find_run", user, run, None))["status"])


async def test_a_claim_without_the_agent_changes_no_waiting_run_and_names_the_agent(
    db: Database, database: TestDatabase, user: Json
) -> None:
    run_id = await wait(db, user)
    assert await db.call("mark_dispatched", run_id)
    before = await lease_of(database, run_id)

    assert await db.call("claim_run", run_id, _KNOWS_NOT) == {"unknown_agent": "support"}

    assert await lease_of(database, run_id) == before
    assert len(await log_of(database, run_id)) == 1
    assert (await db.call("claim_run", run_id, _KNOWS))["outcome"] == "leased"


async def test_a_held_run_is_no_unknown_agent_s(db: Database, user: Json) -> None:
    leased = await begin(db, user, run_request(agent="support"))
    queued = await wait(db, user, run="run-2", busy="enqueue")

    assert await db.call("claim_run", leased["run_id"], _KNOWS_NOT) is None
    assert await db.call("claim_run", queued, _KNOWS_NOT) is None, (
        "another run of its thread comes first"
    )


async def test_only_claims_select_by_agent(db: Database, user: Json) -> None:
    run_id = await wait(db, user)

    [expired] = [
        found
        for found in await db.rows("poll_runs", [{"reader": 1, "run_id": run_id, "after": 1}])
        if found["type"] == "lease.expired"
    ]
    assert expired["reader"] == 1
    assert [str(found["sweep_runs"]) for found in await db.rows("sweep_runs", 10)] == [run_id]


@pytest.mark.parametrize(("reason", "retryable"), [("agent_gone", False), ("agent_broken", True)])
async def test_five_refusals_over_an_hour_end_a_run(
    db: Database, database: TestDatabase, user: Json, reason: str, retryable: bool
) -> None:
    run_id = await wait(db, user)
    waiting = await wait(db, user, run="run-2", busy="enqueue")
    assert await refuse(db, database, run_id, 4, minutes=14.9, reason=reason) is None
    await pass_time(database, 14.9)
    # The first of these refusals had none before it, so not quite an hour has passed.
    assert await db.call("refuse_run", run_id, reason) is None
    assert await status_of(db, user) == "queued"

    ended = await refuse(db, database, run_id, 1, minutes=1, reason=reason)

    assert ended == {"next_queued_run": waiting}
    found = await db.call("find_run", user, "run-1", None)
    assert found["status"] == "failed"
    assert (found["ending"]["code"], found["ending"]["retryable"]) == (reason, retryable)
    assert (await log_of(database, run_id))[-1][2] == "run.failed"
    assert await db.call("refuse_run", run_id, reason) is None, "it has ended"


async def test_an_hour_with_four_refusals_is_not_enough_and_many_within_an_hour_neither(
    db: Database, database: TestDatabase, user: Json
) -> None:
    few, many = await wait(db, user), await wait(db, user, run="run-2", thread="thread-2")
    await refuse(db, database, many, 50)
    async with database.owner() as owner:
        query = "update agent.lease set refusals = 2, refused_at = now(), refused_for = '2 hours',"
        await owner.execute(f"{query} refusal_reason = 'agent_gone' where run_id = $1", few)

    assert await db.call("refuse_run", few, "agent_gone") is None
    assert await db.call("refuse_run", few, "agent_gone") is None
    assert await db.call("refuse_run", few, "agent_gone") == {"next_queued_run": None}
    assert await status_of(db, user, "run-2") == "queued"


async def test_time_without_refusals_does_not_count(
    db: Database, database: TestDatabase, user: Json
) -> None:
    run_id = await wait(db, user)

    assert await refuse(db, database, run_id, 20, minutes=16) is None
    assert await status_of(db, user) == "queued"


async def test_a_refusal_for_the_other_reason_starts_anew(
    db: Database, database: TestDatabase, user: Json
) -> None:
    run_id = await wait(db, user)
    await refuse(db, database, run_id, 4, minutes=14.9)

    for reason in ("agent_broken", "agent_gone") * 3:
        assert await refuse(db, database, run_id, 1, minutes=14.9, reason=reason) is None
    assert (await lease_of(database, run_id))["refusals"] == 1


async def test_a_claim_forgets_refusals(db: Database, database: TestDatabase, user: Json) -> None:
    run_id = await wait(db, user)
    await refuse(db, database, run_id, 4, minutes=14.9)
    leased = await db.call("claim_run", run_id, _KNOWS)
    await db.call("release_runs", [{"run_id": run_id, "token": leased["token"]}])

    assert await refuse(db, database, run_id, 1, minutes=14.9) is None
    lease = await lease_of(database, run_id)
    assert (lease["refusals"], lease["refused_for"].total_seconds()) == (1, 0)


async def test_a_refusal_clears_the_mark(db: Database, database: TestDatabase, user: Json) -> None:
    run_id = await wait(db, user)
    assert await db.call("mark_dispatched", run_id)
    assert not await db.call("mark_dispatched", run_id)

    await db.call("refuse_run", run_id, "agent_gone")
    assert await db.call("mark_dispatched", run_id)


async def test_a_run_that_is_held_or_not_next_gets_no_refusal(
    db: Database, database: TestDatabase, user: Json
) -> None:
    leased = await begin(db, user, run_request(agent="support"))
    queued = await wait(db, user, run="run-2", busy="enqueue")
    for run_id in (leased["run_id"], queued):
        assert await refuse(db, database, run_id, 9, minutes=14.9) is None
        assert (await lease_of(database, run_id))["refusals"] == 0
    assert await append(db, entry(leased, row(2, "run.completed"))) == ["ok"]


async def test_there_are_two_reasons(db: Database, user: Json) -> None:
    run_id = await wait(db, user)

    with pytest.raises(asyncpg.CheckViolationError):
        await db.call("refuse_run", run_id, "agent_tired")
