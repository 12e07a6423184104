"""The cost of admission inside its one round trip: all statements that the executor runs, nested ones included."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from shared.core.json import Json
from shared.database.pool import Database
from tests.fixtures.database import TestDatabase
from tests.postgres.holders import LEASE, begin, complete, run_request, superuser

#: The query of a foreign-key check, which Postgres itself runs.
_CHECK = re.compile(r"FOR KEY SHARE OF x$", re.MULTILINE)


class Explained:
    """A session of `agent_api` in which auto_explain reports each statement to the client."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        self._connection = connection

    async def statements(self, *arguments: Any) -> tuple[list[str], Json]:
        """Call `start_run`. Returns its statements without foreign-key checks, and its answer."""
        seen: list[str] = []

        def listen(_: object, message: Any) -> None:
            if "Query Text: " in message.message:
                seen.append(message.message.partition("Query Text: ")[2].strip())

        self._connection.add_log_listener(listen)
        await self._connection.execute("set client_min_messages = 'log'")
        answer = await self._connection.fetchval(
            "select agent.start_run($1, $2, $3, $4)", *(json.dumps(value) for value in arguments)
        )
        await asyncio.sleep(0)
        self._connection.remove_log_listener(listen)
        assert any(text.startswith("select agent.start_run") for text in seen), "nothing is counted"
        assert any(_CHECK.search(text) for text in seen), "nested statements are not counted"
        return [text for text in seen if not _CHECK.search(text)], json.loads(answer)


@asynccontextmanager
async def explained(database: TestDatabase) -> AsyncIterator[Explained]:
    async with superuser(database) as connection:
        try:
            await connection.execute("load 'auto_explain'")
        except asyncpg.UndefinedFileError:
            pytest.skip("this Postgres has no auto_explain")
        await connection.execute("set auto_explain.log_min_duration = 0")
        await connection.execute("set auto_explain.log_nested_statements = on")
        await connection.execute("set session authorization agent_api")
        yield Explained(connection)


@pytest.mark.parametrize(("limits", "most"), [({}, 5), ({"daily_tokens": 1000}, 6)])
async def test_a_run_in_a_new_thread_is_admitted_by_few_statements(
    database: TestDatabase, user: Json, limits: Json, most: int
) -> None:
    async with explained(database) as session:
        statements, leased = await session.statements(user, run_request(), LEASE, limits)

    assert (leased["outcome"], len(leased["items"])) == ("leased", 1)
    assert len(statements) <= most, statements


@pytest.mark.parametrize("repeats_history", [True, False])
async def test_one_more_message_is_admitted_by_few_statements(
    database: TestDatabase, db: Database, user: Json, repeats_history: bool
) -> None:
    first, second = run_request("hi"), run_request("and now?", run="run-2")
    await complete(db, await begin(db, user, first))
    if repeats_history:
        second["messages"] = first["messages"] + second["messages"]
    async with explained(database) as session:
        statements, leased = await session.statements(user, second, LEASE, {})

    assert [item["data"]["content"] for item in leased["items"]] == ["hi", "hello", "and now?"]
    assert len(statements) <= 5, statements


async def test_a_history_with_new_ids_costs_the_same_however_long_it_is(
    database: TestDatabase, db: Database, user: Json
) -> None:
    counts: list[int] = []
    texts: list[str] = []
    for nth in range(4):
        texts.append(f"text {nth}")
        request = run_request(run=f"run-{nth}", messages=_with_new_ids(texts))
        if nth in (1, 3):
            async with explained(database) as session:
                statements, leased = await session.statements(user, request, LEASE, {})
            counts.append(len(statements))
        else:
            leased = await begin(db, user, request)
        await complete(db, leased)

    users = [item for item in leased["items"] if item["data"]["role"] == "user"]
    assert [item["data"]["content"] for item in users] == texts
    assert counts[0] == counts[1]


def _with_new_ids(texts: list[str]) -> list[Json]:
    data = ({"role": "user", "content": text} for text in texts)
    return [{"key": str(uuid4()), "kind": "message", "data": each} for each in data]


async def test_a_holder_gets_the_same_whether_its_run_waited_or_not(
    db: Database, user: Json
) -> None:
    at_once = await begin(db, user, run_request(run="run-1", thread="thread-1"))
    waiting = run_request(run="run-2", thread="thread-2")
    queued = await db.call("start_run", user, waiting, None, {})
    claimed = await db.call("claim_run", queued["run_id"], LEASE, {"daily_tokens": 0})

    assert at_once.keys() | {"tokens_left"} == claimed.keys()
    same = ("outcome", "attempt", "claims", "unfinished_calls", "answers", "used")
    assert {name: at_once[name] for name in same} == {name: claimed[name] for name in same}
    assert [event["type"] for event in at_once["events"]] == ["run.started"]
    assert [event["type"] for event in claimed["events"]] == ["run.started"]
    (mine,), (other,) = at_once["items"], claimed["items"]
    assert mine.keys() == other.keys()
    assert mine["data"] == other["data"]


async def test_a_history_read_by_the_short_path_has_the_requested_length(
    db: Database, user: Json
) -> None:
    await complete(db, await begin(db, user, run_request("one")))
    await complete(db, await begin(db, user, run_request("two", run="run-2")))
    leased = await begin(db, user, run_request("three", run="run-3"), history=2)

    assert [item["data"]["content"] for item in leased["items"]] == ["hello", "three"]


async def test_a_run_after_another_waits_in_the_transaction_that_started_one(
    database: TestDatabase, user: Json
) -> None:
    connection = await asyncpg.connect(database.url)
    try:
        async with connection.transaction():
            for request in (run_request(), run_request(run="run-2", busy="enqueue")):
                values = [json.dumps(value) for value in (user, request, LEASE, {})]
                await connection.execute("select agent.start_run($1, $2, $3, $4)", *values)
    finally:
        await connection.close()
    async with database.owner() as owner:
        rows = await owner.fetch(
            "select status, started_at is null as waits from agent.run order by id"
        )
    assert [tuple(found) for found in rows] == [("in_progress", False), ("queued", True)]
