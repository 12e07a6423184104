"""A run from its lease to its ending, on the real log: it ends exactly once in every case."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from shared.agents.engine import execute_run
from shared.core.items import Usage
from shared.core.json import Json
from shared.core.settings import Settings
from shared.database.pool import Database
from shared.models.events import ModelEvent, ModelFailed, TextDelta, ToolCallDelta, TurnEnded
from shared.runs.live import LiveRun
from shared.runs.results import Leased
from shared.runs.store import RunStore
from shared.runs.writer import LogWriter
from tests.doubles import CountingTools, ScriptedModel
from tests.fixtures.agents import bound
from tests.fixtures.database import TestDatabase
from tests.fixtures.waiting import eventually
from tests.postgres.holders import LEASE, admit, expire, log_of, run_request

STOP = TurnEnded("stop", Usage())
CALLS = TurnEnded("tool_calls", Usage())
CALL = ToolCallDelta(0, "call_0", "look", "{}")


@dataclass
class Desk:
    """One run that this process holds."""

    database: TestDatabase
    db: Database
    journal: LogWriter
    live: LiveRun
    user: Json

    async def answer(
        self, *turns: Sequence[ModelEvent | Exception], **tools: object
    ) -> CountingTools:
        model, toolbox = ScriptedModel(*turns), CountingTools(dict(tools))
        async with asyncio.timeout(10):
            agent = bound(model, tools=toolbox, max_turns=3, max_turn_tries=1)
            await execute_run(self.live, agent, seconds=8)
        model.assert_done()
        return toolbox

    async def types(self) -> list[str]:
        found = await log_of(self.database, self.live.leased.run_id)
        assert [seq for _, seq, _ in found] == sorted({seq for _, seq, _ in found})
        return [type_ for _, _, type_ in found if type_ != "item.delta"]

    async def ending(self) -> Json:
        view: Json = await self.db.call("find_run", self.user, "run-1", None)
        assert sum(type_.startswith("run.") for type_ in await self.types()) == 2
        return {"status": view["status"], **(view["ending"] or {})}


@pytest.fixture
async def desk(database: TestDatabase) -> AsyncIterator[Desk]:
    async with at_a_desk(database) as desk_:
        yield desk_


@asynccontextmanager
async def at_a_desk(database: TestDatabase) -> AsyncIterator[Desk]:
    settings = Settings(supabase_database_url=database.url, tick_seconds=0.02)
    db, user = Database(settings), await admit(database)
    await db.connect()
    journal = LogWriter(db, settings)
    working = asyncio.ensure_future(journal.run())
    try:
        leased = await RunStore(db, settings).start(user, run_request())
        assert isinstance(leased, Leased)
        yield Desk(database, db, journal, journal.open(leased), user)
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        await db.close()


async def test_a_call_is_committed_as_started_before_it_runs(desk: Desk) -> None:
    seen: list[list[str]] = []

    async def look(_: Json) -> str:
        seen.append(await desk.types())
        return "seen"

    await desk.answer([CALL, CALLS], [TextDelta("ok"), STOP], look=look)

    # The call's start and end, and the start of its result: all in the log while the tool runs.
    assert seen == [
        ["run.started", "item.started", "item.completed", "turn.finished", "item.started"]
    ]
    assert (await desk.ending())["status"] == "completed"


async def test_a_cancel_while_a_tool_runs_stops_it_and_ends_the_run_once(desk: Desk) -> None:
    runs, stopped = asyncio.Event(), asyncio.Event()

    async def look(_: Json) -> str:
        runs.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()
        return "never"

    task = asyncio.ensure_future(desk.answer([CALL, CALLS], look=look))
    desk.live.set_cancellable_task(task)
    async with asyncio.timeout(5):
        await runs.wait()
        await desk.db.call("cancel_run", desk.user, "run-1", "request-1")
        await asyncio.gather(task, return_exceptions=True)

    assert stopped.is_set()
    assert (await desk.ending())["status"] == "cancelled"
    assert (await desk.types())[-2:] == ["item.aborted", "run.cancelled"]


@pytest.mark.parametrize(
    "failure",
    [
        ModelFailed("model_timeout", "The model took too long.", retryable=True),
        ModelFailed("model_rejected", "The model's API answered 401.", retryable=False),
        RuntimeError("a secret of ours"),
    ],
)
async def test_a_failure_ends_the_run_with_a_code_and_keeps_its_text(
    desk: Desk, failure: Exception
) -> None:
    await desk.answer([TextDelta("so far"), failure])

    ending = await desk.ending()
    assert ending["status"] == "failed"
    assert ending["code"] == getattr(failure, "code", "internal_error")
    assert "secret" not in ending["message"]
    thread = await desk.db.call("read_snapshot", desk.user, desk.live.leased.run_id)
    assert thread["items"][-1]["data"]["content"] == "so far"
    assert thread["items"][-1]["data"]["status"] == "incomplete"


async def test_execution_stops_when_another_process_took_the_run(desk: Desk) -> None:
    async def look(_: Json) -> str:
        await expire(desk.database, {"run_id": desk.live.leased.run_id})
        lease = {**LEASE, "grace": 0}
        assert await desk.db.call("claim_run", desk.live.leased.run_id, lease)
        return "seen"

    task = asyncio.ensure_future(desk.answer([CALL, CALLS], look=look))
    desk.live.set_cancellable_task(task)
    async with asyncio.timeout(5):
        await asyncio.gather(task, return_exceptions=True)

    assert desk.live.is_dropped
    assert not {"run.completed", "run.cancelled", "run.failed"} & {*await desk.types()}


async def test_a_stopping_process_leaves_its_run_to_another(desk: Desk) -> None:
    runs = asyncio.Event()

    async def look(_: Json) -> str:
        runs.set()
        await asyncio.Event().wait()
        return "never"

    task = asyncio.ensure_future(desk.answer([CALL, CALLS], look=look))
    async with asyncio.timeout(5):
        await runs.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await desk.journal.release([desk.live])

    assert (await desk.types())[-1] == "item.started"
    assert await desk.db.call("claim_run", desk.live.leased.run_id, {**LEASE, "grace": 0})


async def test_a_cancel_while_the_ending_is_in_flight_changes_nothing(desk: Desk) -> None:
    run = desk.live.leased.run_id

    async def has_ending() -> bool:
        return desk.live.has_ending

    async with desk.database.owner() as owner:
        async with owner.transaction():
            # A locked row is busy: the ending waits for the next tick, and the next.
            await owner.execute("select from agent.lease where run_id = $1 for update", run)
            task = asyncio.ensure_future(desk.answer([TextDelta("hi"), STOP]))
            await eventually(has_ending)
            desk.live.set_cancellable_task(task)
            desk.live.cancel()
            for _ in range(3):
                task.cancel()
                await asyncio.sleep(0)
            assert not desk.live.is_settled, "it is not in the log yet"
        await asyncio.gather(task, return_exceptions=True)

    await desk.live.settle()
    assert (await desk.ending())["status"] == "completed"


async def test_a_cancel_while_a_failure_is_on_its_way_changes_nothing(desk: Desk) -> None:
    run = desk.live.leased.run_id

    async def has_ending() -> bool:
        return desk.live.has_ending

    async with desk.database.owner() as owner:
        async with owner.transaction():
            # A locked row is busy: the ending waits for the next tick, and the next.
            await owner.execute("select from agent.lease where run_id = $1 for update", run)
            task = asyncio.ensure_future(desk.answer([ModelFailed("x", "x", retryable=False)]))
            desk.live.set_cancellable_task(task)
            await eventually(has_ending)
            desk.live.cancel()
        await task

    assert desk.live.is_settled
    assert (await desk.ending())["status"] == "failed"
