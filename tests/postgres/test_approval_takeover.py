"""An approved call is made at most once, at whatever step its process dies."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from shared.agents.loop import Loop
from shared.core.items import Usage
from shared.core.json import Json
from shared.core.settings import Settings
from shared.database.pool import Database
from shared.models.events import TextDelta, ToolCallDelta, TurnEnded
from shared.runs.results import Leased
from shared.runs.store import RunStore
from shared.runs.writer import LogWriter
from tests.doubles import CountingTools, ScriptedModel
from tests.fixtures.agents import bound
from tests.fixtures.database import TestDatabase
from tests.postgres.holders import admit, expire, run_request

STOP = TurnEnded("stop", Usage(5, 2))
CALLS = TurnEnded("tool_calls", Usage(5, 2))
TURN = [ToolCallDelta(0, "a", "look", "{}"), ToolCallDelta(1, "b", "pay", "{}"), CALLS]


@dataclass
class Hands:
    """Processes that execute runs with the same tools, and die at a given step."""

    runs: RunStore
    journal: LogWriter
    tools: CountingTools
    user: Json

    async def answer(self, leased: Leased, *turns: Any, steps: int = 99, whole: bool = True) -> int:
        """Execute the run to its end, or die after `steps` steps; without `whole`, the last of them is not committed.
        Returns the number of committed steps."""
        live, done = self.journal.open(leased), 0
        async with asyncio.timeout(10), aclosing(self._loop(leased, *turns).steps()) as found:
            async for step in found:
                if not step.commits:
                    await live.send(step.drafts)
                    continue
                if done == steps and not whole:
                    break
                await live.commit(step.drafts, closes_turn=step.closes)
                done += 1
                if done == steps and whole:
                    break
        self.journal.close(live)
        return done

    def _loop(self, leased: Leased, *turns: Any) -> Loop:
        return Loop(bound(ScriptedModel(*turns)), "be good", leased, self.tools)


@asynccontextmanager
async def hands(database: TestDatabase) -> AsyncIterator[Hands]:
    settings = Settings(
        supabase_database_url=database.url, tick_seconds=0.02, takeover_grace_seconds=0
    )
    db = Database(settings)
    await db.connect()
    journal = LogWriter(db, settings)
    working = asyncio.ensure_future(journal.run())
    euros = {"type": "object", "properties": {"euros": {"type": "integer"}}}
    pay = {"approval": "ask", "parameters": euros}
    tools = CountingTools({"look": "seen", "pay": "paid"}, pay=pay)
    try:
        yield Hands(RunStore(db, settings), journal, tools, await admit(database))
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        await db.close()


def approval_of(interrupts: list[Json]) -> Json:
    answers = [
        {"interrupt_id": a["id"], "status": "resolved", "payload": {"approved": True}}
        for a in interrupts
    ]
    return run_request(run="run-2", resume=answers, messages=[])


async def claimed(runs: RunStore, database: TestDatabase, leased: Leased) -> Leased:
    await expire(database, {"run_id": leased.run_id})
    again = await runs.claim(leased.run_id, ["assistant"])
    assert isinstance(again, Leased)
    return again


async def questions(runs: RunStore, user: Json) -> list[Json]:
    view = await runs.find(user, client_run_id="run-1")
    assert (view.status, view.ending is not None) == ("interrupted", True)
    interrupts: list[Json] = (view.ending or {})["interrupts"]
    return interrupts


@pytest.mark.parametrize("whole", [True, False], ids=["committed", "not committed"])
@pytest.mark.parametrize("steps", [0, 1, 2, 3])
async def test_an_approved_call_is_made_at_most_once(
    database: TestDatabase, steps: int, whole: bool
) -> None:
    async with hands(database) as ours:
        first = await ours.runs.start(ours.user, run_request())
        assert isinstance(first, Leased)
        await ours.answer(first, TURN)
        interrupts = await questions(ours.runs, ours.user)

        second = await ours.runs.start(ours.user, approval_of(interrupts))
        assert isinstance(second, Leased)
        done = await ours.answer(second, [TextDelta("ok"), STOP], steps=steps, whole=whole)
        view = await ours.runs.find(ours.user, client_run_id="run-2")
        if not view.has_ended:
            again = await claimed(ours.runs, database, second)
            await ours.answer(again, [TextDelta("ok"), STOP])
        view = await ours.runs.find(ours.user, client_run_id="run-2")

    assert view.status == "completed"
    paid = [name for name, _ in ours.tools.calls if name == "pay"]
    # Between the commit of its start and that of its result the outcome is unknown; only then may it not be made.
    assert len(paid) <= 1
    assert len(paid) == 1 or (done, whole) == (1, True)
    async with database.owner() as owner:
        results = await owner.fetch(
            "select data ->> 'status' as status from agent.item"
            " where kind = 'tool_result' and superseded_at is null order by position"
        )
    # `look` in the first run; then what came of `pay`.
    status = "unknown" if done == 1 else None
    assert [row["status"] for row in results] == [None, status]


async def test_the_next_process_raises_an_interrupt_that_a_dead_process_did_not_commit(
    database: TestDatabase,
) -> None:
    async with hands(database) as ours:
        first = await ours.runs.start(ours.user, run_request())
        assert isinstance(first, Leased)
        # The turn is closed and `look` has its result; the ending with the question is not written.
        await ours.answer(first, TURN, steps=2)
        again = await claimed(ours.runs, database, first)
        await ours.answer(again)
        interrupts = await questions(ours.runs, ours.user)

    assert [name for name, _ in ours.tools.calls] == ["look"]
    assert len(interrupts) == 1


@pytest.mark.parametrize("steps", [0, 1], ids=["before the turn is closed", "after it is closed"])
async def test_the_next_process_asks_for_the_same_calls_and_not_for_those_that_do_not_fit(
    database: TestDatabase, steps: int
) -> None:
    turn = [
        ToolCallDelta(0, "a", "pay", "{}"),
        ToolCallDelta(1, "b", "pay", '{"euros": "five"}'),
        CALLS,
    ]
    async with hands(database) as ours:
        first = await ours.runs.start(ours.user, run_request())
        assert isinstance(first, Leased)
        await ours.answer(first, turn, steps=steps, whole=steps > 0)
        again = await claimed(ours.runs, database, first)
        await ours.answer(again, *([] if steps else [turn]))
        interrupts = await questions(ours.runs, ours.user)

    assert ours.tools.calls == []
    async with database.owner() as owner:
        rows = await owner.fetch(
            "select kind, key::text, data from agent.item"
            " where superseded_at is null and kind in ('tool_call', 'tool_result') order by position"
        )
    (valid, invalid), (result,) = (
        [row for row in rows if row["kind"] == kind] for kind in ("tool_call", "tool_result")
    )
    assert [each["call_id"] for each in interrupts] == [valid["key"]]
    assert invalid["key"] in result["data"]
    assert "is not of type" in result["data"]


async def test_tokens_of_earlier_holders_are_counted(database: TestDatabase) -> None:
    async with hands(database) as ours:
        first = await ours.runs.start(ours.user, run_request())
        assert isinstance(first, Leased)
        await ours.answer(first, [ToolCallDelta(0, "a", "look", "{}"), CALLS], steps=2)
        again = await claimed(ours.runs, database, first)
        assert (again.used.total, again.tool_calls_made) == (7, 1)
        await ours.answer(again, [TextDelta("ok"), STOP])
        view = await ours.runs.find(ours.user, client_run_id="run-1")

    assert (view.ending or {})["usage"] == {"input_tokens": 10, "output_tokens": 4}


async def test_the_tokens_of_a_day_are_a_limit(database: TestDatabase) -> None:
    async with hands(database) as ours:
        ours.runs._limits["daily_tokens"] = 7
        first = await ours.runs.start(ours.user, run_request())
        assert isinstance(first, Leased)
        assert first.tokens_left == 7
        await ours.answer(first, [TextDelta("ok"), STOP])

        assert await ours.runs.tokens_left(ours.user) == 0


async def test_a_run_that_waited_too_long_is_refused(database: TestDatabase) -> None:
    async with hands(database) as ours:
        waiting = await ours.runs.start(ours.user, run_request(), lease=False)
        async with database.owner() as owner:
            await owner.execute("update agent.run set created_at = now() - interval '25 hours'")
        await ours.runs.claim(waiting.run_id, ["assistant"])
        view = await ours.runs.find(ours.user, client_run_id="run-1")

    assert (view.status, (view.ending or {})["code"]) == ("failed", "run_too_old")
