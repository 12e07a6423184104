"""Attempts without progress are limited: releases and crashes are counted apart, and a closed turn resets both."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest

from shared.core.json import Json
from shared.database.pool import Database
from tests.fixtures.database import TestDatabase
from tests.postgres.holders import (
    LEASE,
    admit,
    append,
    begin,
    connected,
    entry,
    expire,
    log_of,
    message,
)

_LIMITS: Json = {"daily_tokens": 0, "max_hours": 24}


@pytest.fixture
async def db(database: TestDatabase) -> AsyncIterator[Database]:
    async with connected(database.url) as db:
        yield db


async def take(db: Database, run: Json, *, stalls: int = 3) -> Any:
    lease = {**LEASE, "max_stalled_attempts": stalls, "grace": 0}
    return await db.call("claim_run", run["run_id"], lease, _LIMITS)


async def release(db: Database, held: Json) -> None:
    await db.call("release_runs", [{"run_id": held["run_id"], "token": held["token"]}])


async def counts(database: TestDatabase) -> tuple[int, int]:
    """Releases without progress, and attempts at the open turn."""
    async with database.owner() as owner:
        row = await owner.fetchrow("select stalled_attempts, unfinished_attempts from agent.lease")
    assert row
    return row["stalled_attempts"], row["unfinished_attempts"]


async def test_a_run_that_is_only_released_fails_as_stalled(
    db: Database, database: TestDatabase
) -> None:
    held = run = await begin(db, await admit(database))
    for _ in range(2):
        await release(db, held)
        held = await take(db, run)
    await release(db, held)

    assert await take(db, run) == {"next_queued_run": None}

    async with database.owner() as owner:
        ended = await owner.fetchrow("select status, ending ->> 'code' as code from agent.run")
    assert ended
    assert (ended["status"], ended["code"]) == ("failed", "run_stalled")
    assert (await log_of(database, run["run_id"]))[-1][2] == "run.failed"


async def test_a_closed_turn_resets_the_count(db: Database, database: TestDatabase) -> None:
    held = run = await begin(db, await admit(database))
    await release(db, held)
    held = await take(db, run)
    await release(db, held)
    assert await counts(database) == (2, 0)

    held = await take(db, run)
    closing = entry(held, *message(held["last_seq"] + 1, str(uuid4()), "a turn"), closes=True)
    assert await append(db, closing) == ["ok"]
    await release(db, held)

    assert await counts(database) == (0, 0)


async def test_crashes_and_releases_are_counted_apart(db: Database, database: TestDatabase) -> None:
    run = await begin(db, await admit(database))
    await expire(database, run)
    held = await take(db, run)
    assert await counts(database) == (0, 2), "a crash"

    await release(db, held)
    assert await counts(database) == (1, 1), "a release"

    held = await take(db, run)
    await expire(database, held)
    await take(db, run)
    assert await counts(database) == (1, 3), "another crash"


async def test_a_run_that_no_runner_took_can_be_dispatched_again_at_once(
    db: Database, database: TestDatabase
) -> None:
    run = await begin(db, await admit(database))
    await release(db, run)
    assert await db.call("mark_dispatched", run["run_id"])
    assert not await db.call("mark_dispatched", run["run_id"]), "within a minute"

    await db.call("clear_dispatches", (run["run_id"],))

    assert await db.call("mark_dispatched", run["run_id"])
    assert [str(row["unheld_runs"]) for row in await db.rows("unheld_runs", (run["run_id"],))] == [
        run["run_id"]
    ]
    await take(db, run)
    assert await db.rows("unheld_runs", (run["run_id"],)) == []
