"""A run whose lease has expired: its holder may only be late, so no process takes the run on one look."""

from uuid import UUID

import pytest

from shared.core.json import Json
from shared.database.pool import Database
from tests.fixtures.database import TestDatabase
from tests.postgres.holders import LEASE, append, begin, entry, expire

#: A claim by a process that knows the agent, and one by a process that does not.
_PATIENT = {**LEASE, "grace": 60}
_STRANGER = {**_PATIENT, "agents": ["sales"]}


async def pass_time(database: TestDatabase, seconds: float) -> None:
    """Let the first look be so much longer ago."""
    async with database.owner() as owner:
        await owner.execute(
            "update agent.lease set suspected_at = suspected_at - make_interval(secs => $1)",
            seconds,
        )


async def look(db: Database, run_id: str, lease: Json = _PATIENT) -> float:
    """A look at an expired lease. Returns in how many seconds the second look is due."""
    answer: Json = await db.call("claim_run", run_id, lease)
    assert answer.keys() == {"suspected"}
    return float(answer["suspected"])


async def late_run(db: Database, database: TestDatabase, user: Json) -> Json:
    """A run of `assistant` whose lease has expired."""
    leased = await begin(db, user)
    await expire(database, leased)
    return leased


async def test_an_expired_lease_is_claimed_on_the_second_look(
    db: Database, database: TestDatabase, user: Json
) -> None:
    run_id = (await late_run(db, database, user))["run_id"]

    assert await look(db, run_id) == 60
    assert 0 < await look(db, run_id) < 60
    await pass_time(database, 60)
    assert (await db.call("claim_run", run_id, _PATIENT))["attempt"] == 2


async def test_a_later_look_waits_only_for_the_rest_of_the_grace(
    db: Database, database: TestDatabase, user: Json
) -> None:
    run_id = (await late_run(db, database, user))["run_id"]
    await look(db, run_id)
    await pass_time(database, 45)

    assert 0 < await look(db, run_id) <= 15


async def test_a_released_run_is_claimed_at_once(db: Database, user: Json) -> None:
    leased = await begin(db, user)
    await db.call("release_runs", [{"run_id": leased["run_id"], "token": leased["token"]}])

    assert (await db.call("claim_run", leased["run_id"], _PATIENT))["attempt"] == 2


async def test_a_claim_without_the_agent_is_a_first_look(
    db: Database, database: TestDatabase, user: Json
) -> None:
    run_id = (await late_run(db, database, user))["run_id"]

    assert await db.call("claim_run", run_id, _STRANGER) == {"unknown_agent": "assistant"}
    assert 0 < await look(db, run_id) < 60, "it alone does not allow a claim"
    await pass_time(database, 60)
    assert (await db.call("claim_run", run_id, _PATIENT))["attempt"] == 2


@pytest.mark.parametrize("first", [_PATIENT, _STRANGER], ids=["its agent's", "another agent's"])
async def test_a_holder_that_renews_after_a_look_is_safe_from_the_next_look(
    db: Database, database: TestDatabase, user: Json, first: Json
) -> None:
    leased = await late_run(db, database, user)
    await db.call("claim_run", leased["run_id"], first)
    await pass_time(database, 60)

    assert await append(db, entry(leased)) == ["ok"]

    assert await db.call("claim_run", leased["run_id"], _PATIENT) is None, "its lease is valid"
    await expire(database, leased)
    assert await look(db, leased["run_id"]) == 60, "the look before the renewal does not count"


async def test_a_look_at_a_valid_lease_leaves_no_trace(
    db: Database, database: TestDatabase, user: Json
) -> None:
    leased = await begin(db, user)

    for lease in (_PATIENT, _STRANGER):
        assert await db.call("claim_run", leased["run_id"], lease) is None
    await expire(database, leased)
    assert await look(db, leased["run_id"]) == 60


async def test_a_renewal_clears_the_mark_of_a_dispatch_that_found_the_run_held(
    db: Database, database: TestDatabase, user: Json
) -> None:
    leased = await late_run(db, database, user)
    run_id = UUID(leased["run_id"])
    [swept] = await db.rows("sweep_runs", 10)
    assert swept["sweep_runs"] == run_id
    assert not await db.call("mark_dispatched", run_id), "its delivery is on its way"

    assert await append(db, entry(leased)) == ["ok"]

    # Within the same minute, the holder dies.
    assert not await db.call("mark_dispatched", run_id), "the run is held"
    await expire(database, leased)
    assert [row["sweep_runs"] for row in await db.rows("sweep_runs", 10)] == [run_id]


async def test_late_leases_lists_a_late_holder_until_its_lease_expires(
    db: Database, database: TestDatabase, user: Json
) -> None:
    leased = await begin(db, user)
    assert await db.rows("late_leases", 15.0, 10) == [], "its holder is in time"
    await expire(database, leased, 5.0)

    [late] = await db.rows("late_leases", 15.0, 10)

    assert (str(late["run_id"]), 4 < late["due_in"] <= 5) == (leased["run_id"], True)
    await expire(database, leased)
    assert await db.rows("late_leases", 15.0, 10) == [], "it has expired: the sweep finds it"
    assert await look(db, leased["run_id"]) == 60, "that list is no look"
