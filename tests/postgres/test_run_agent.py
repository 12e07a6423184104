"""A run names its agent: at admission, to its user, and to the process that claims it."""

import asyncpg
import pytest

from shared.core.json import Json
from shared.database.pool import Database
from tests.fixtures.database import TestDatabase
from tests.postgres.holders import LEASE, begin, expire, run_request

_NAMED = {"agent": "support", "agent_hash": "0123456789abcdef"}


@pytest.mark.parametrize("lease", [LEASE, None], ids=["the short way", "the general way"])
async def test_an_admitted_run_has_its_agent_beside_its_request(
    db: Database, database: TestDatabase, user: Json, lease: Json | None
) -> None:
    admitted = await db.call("start_run", user, run_request(**_NAMED), lease, {})

    async with database.owner() as owner:
        row = await owner.fetchrow("select agent, agent_hash, request::text from agent.run")
    assert row
    assert (row["agent"], row["agent_hash"]) == ("support", "0123456789abcdef")
    assert "support" not in row["request"]
    assert "agent_hash" not in row["request"]
    if lease:
        assert admitted["agent"] == "support"


async def test_a_claimed_run_names_its_agent(
    db: Database, database: TestDatabase, user: Json
) -> None:
    leased = await begin(db, user, run_request(**_NAMED))
    await expire(database, leased)

    assert (await db.call("claim_run", leased["run_id"], LEASE))["agent"] == "support"


async def test_a_user_sees_the_agent_of_a_run(db: Database, user: Json) -> None:
    await begin(db, user, run_request(**_NAMED))

    assert (await db.call("find_run", user, "run-1", None))["agent"] == "support"
    [listed] = await db.call("list_runs", user, "thread-1", None, 10)
    assert listed["agent"] == "support"
    [exported] = await db.call("export_rows", user, "run", "", 10)
    assert (exported["agent"], exported["agent_hash"]) == ("support", "0123456789abcdef")


@pytest.mark.parametrize("name", [None, "", "Support", "a" * 41, "-a", "a-", "a\n"])
async def test_a_name_that_no_function_can_have_is_refused(
    db: Database, user: Json, name: str | None
) -> None:
    with pytest.raises((asyncpg.CheckViolationError, asyncpg.NotNullViolationError)):
        await begin(db, user, run_request(agent=name))
