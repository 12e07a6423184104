"""Ids of runs, and what the log's table must be so that it can be partitioned by them."""

from time import time
from uuid import UUID

import asyncpg
import pytest

from shared.core.json import Json
from shared.database.pool import Database
from tests.fixtures.database import TestDatabase
from tests.postgres.holders import begin, run_request

_COPY = """
create table agent.log_copy (like agent.run_event including all) partition by hash (run_id);
create table agent.log_copy_0 partition of agent.log_copy for values with (modulus 2, remainder 0);
create table agent.log_copy_1 partition of agent.log_copy for values with (modulus 2, remainder 1);
"""
_WRITE = """
insert into agent.log_copy (run_id, seq, attempt, type)
select run_id, 1, 1, $1 from agent.lease
"""


async def test_run_ids_are_uuids_of_version_7_in_the_order_of_time(
    db: Database, user: Json
) -> None:
    before = round(time() * 1000)  # as the cast in the id's default rounds
    ids = []
    for nth in range(30):
        leased = await begin(db, user, run_request(run=f"run-{nth}", thread=f"thread-{nth}"))
        ids.append(UUID(leased["run_id"]))
    after = round(time() * 1000)

    assert {(run_id.version, run_id.variant) for run_id in ids} == {(7, "specified in RFC 4122")}
    times = [run_id.int >> 80 for run_id in ids]
    assert times == sorted(times)
    assert before <= times[0] <= times[-1] <= after
    assert times[0] < times[-1]
    assert len({run_id.int & (1 << 62) - 1 for run_id in ids}) == 30, "the rest is random"


async def test_the_log_can_be_partitioned_by_run(
    database: TestDatabase, db: Database, user: Json
) -> None:
    for nth in range(8):
        await begin(db, user, run_request(run=f"run-{nth}", thread=f"thread-{nth}"))
    async with database.owner() as owner:
        await owner.execute(_COPY)
        await owner.execute(_WRITE, "run.completed")
        for part in ("log_copy_0", "log_copy_1"):
            assert await owner.fetchval(f"select count(*) from agent.{part}"), part
        with pytest.raises(asyncpg.UniqueViolationError, match="_pkey"):
            await owner.execute(_WRITE, "custom")
        with pytest.raises(asyncpg.UniqueViolationError, match="run_id_idx"):
            await owner.execute(_WRITE.replace("1, 1,", "2, 1,"), "run.failed")
        assert not await owner.fetchval(
            "select count(*) from pg_constraint where confrelid = 'agent.run_event'::regclass"
        ), "no key of another table refers to the log"
