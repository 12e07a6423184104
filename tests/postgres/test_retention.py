"""Ended runs are pruned, not too early, and a reader still gets the ending."""

from datetime import timedelta

import pytest

from tests.doubles import ModelServer, says
from tests.fixtures.conversations import types
from tests.fixtures.functions import Person, Served, run_input

HOUR = timedelta(hours=1)


async def prune(agent: Served, *, ended: str, events_after: timedelta = 30 * 24 * HOUR) -> int:
    """Prune as if the run had ended so long ago."""
    async with agent.database.owner() as owner:
        await owner.execute(f"update agent.run set ended_at = now() - interval '{ended}'")
        touched: int = await owner.fetchval(
            "select agent.prune($1, $2, interval '1 year', 10)", timedelta(0), events_after
        )
        return touched


async def kinds(agent: Served) -> set[str]:
    async with agent.database.owner() as owner:
        return {row["type"] for row in await owner.fetch("select type from agent.run_event")}


async def replay(person: Person, after: str = "") -> list[str]:
    query = f"?after={after}" if after else ""
    async with person.stream("GET", f"/runs/run-1/events{query}") as frames:
        return types(await frames.rest())


@pytest.fixture
async def person(agent: Served, model: ModelServer) -> Person:
    someone = await agent.person()
    model.will(says("a", "b"))
    await someone.run(run_input("hi"))
    return someone


async def test_deltas_stay_for_an_hour_whatever_the_arguments(
    agent: Served, person: Person
) -> None:
    assert await prune(agent, ended="59 minutes") == 0
    assert "item.delta" in await kinds(agent)


async def test_after_the_deltas_are_gone_a_reader_gets_a_snapshot_from_any_place(
    agent: Served, person: Person
) -> None:
    assert await prune(agent, ended="61 minutes") == 1

    assert "item.delta" not in await kinds(agent)
    snapshot = ["RUN_STARTED", "MESSAGES_SNAPSHOT", "STATE_SNAPSHOT", "RUN_FINISHED"]
    assert await replay(person) == snapshot
    assert await replay(person, after="1.2") == snapshot
    assert await replay(person, after="1.4") == ["TEXT_MESSAGE_END", "RUN_FINISHED"]
    assert await prune(agent, ended="61 minutes") == 0, "once is enough"


async def test_a_late_pruning_leaves_the_ending_and_the_whole_thread(
    agent: Served, person: Person
) -> None:
    await prune(agent, ended="61 minutes")
    assert await prune(agent, ended="3 hours", events_after=2 * HOUR) == 1

    assert await kinds(agent) == {"run.completed"}
    assert (await replay(person))[-1] == "RUN_FINISHED"
    async with person.stream("POST", "/connect", {"threadId": "thread-1"}) as frames:
        messages = (await frames.until("MESSAGES_SNAPSHOT"))["messages"]
    assert [m["content"] for m in messages] == ["hi", "ab"]
