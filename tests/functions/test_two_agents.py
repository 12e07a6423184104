"""Two agents in one thread: each answers its own runs, and only its own interrupts."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from shared.agents.agent import Agent
from tests.doubles import CountingTools, ModelServer, chunk, says
from tests.fixtures.conversations import body, text, user
from tests.fixtures.database import TestDatabase
from tests.fixtures.functions import Served, run_input, serve
from tests.fixtures.interrupts import interrupted, resumes, tool_results
from tests.fixtures.runners import runner_stub
from tests.fixtures.waiting import eventually, until_true

SUPPORT = Agent(instructions="You are the support.")


@asynccontextmanager
async def support(
    database: TestDatabase, model: ModelServer, tools: CountingTools | None = None, **more: str
) -> AsyncIterator[Served]:
    async with serve(database, model, tools, agent=SUPPORT, name="support", **more) as served:
        yield served


@pytest.fixture
def tools() -> CountingTools:
    return CountingTools({"pay": "paid"}, pay={"approval": "ask"})


def prompt(model: ModelServer, nth: int = -1) -> str:
    """The system message of a request to the model."""
    return str(model.requests[nth]["messages"][0]["content"])


async def test_two_agents_answer_in_turn_in_one_thread(
    agent: Served, database: TestDatabase, model: ModelServer
) -> None:
    person = await agent.person()
    model.will(says("one"), says("two"), says("three"))
    async with support(database, model) as other:
        assert text(await person.run(body("run-1", user("a", "first")))) == "one"
        theirs = other.as_client_of(person)
        assert text(await theirs.run(body("run-2", user("b", "second")))) == "two"
        assert text(await person.run(body("run-3", user("c", "third")))) == "three"
        # Each address shows every run of the thread.
        shown = [(await theirs.request("GET", f"/runs/run-{n}")).json() for n in (1, 2, 3)]

    assert [view["agent"] for view in shown] == ["assistant", "support", "assistant"]
    assert [prompt(model, n) == "You are the support." for n in (0, 1, 2)] == [False, True, False]
    history = [message["content"] for message in model.requests[-1]["messages"][1:]]
    assert history == ["first", "one", "second", "two", "third"]


async def test_the_same_run_id_at_another_agent_is_refused(
    agent: Served, database: TestDatabase, model: ModelServer
) -> None:
    person = await agent.person()
    model.will(says("one"))
    await person.run(run_input("hi"))
    async with support(database, model) as other:
        answer = await other.as_client_of(person).request("POST", "/runs", run_input("hi"))

    assert (answer.status_code, answer.json()["code"]) == (409, "run_id_reused")


async def test_a_thread_is_busy_for_every_agent_and_each_address_cancels(
    agent: Served, database: TestDatabase, model: ModelServer
) -> None:
    person = await agent.person()
    model.will([chunk({"content": "a"}), asyncio.Event()])
    async with support(database, model) as other:
        theirs = other.as_client_of(person)
        async with person.stream("POST", "/runs", body("run-1", user("a", "first"))) as frames:
            await frames.until("TEXT_MESSAGE_CONTENT")
            busy = await theirs.request("POST", "/runs", body("run-2", user("b", "second")))
            path = "/runs/run-1/events?protocolVersion=1.0"
            async with theirs.stream("GET", path) as followed:
                await followed.until("TEXT_MESSAGE_CONTENT")
                cancelled = await theirs.request("POST", "/runs/run-1/cancel")
                assert (await followed.rest())[-1]["outcome"]["type"] == "cancelled"

    assert (busy.status_code, busy.json()["code"]) == (409, "thread_busy")
    assert cancelled.status_code == 202


async def test_an_interrupt_is_answered_at_its_own_agent_only(
    database: TestDatabase, model: ModelServer, tools: CountingTools
) -> None:
    async with serve(database, model, tools) as agent, support(database, model) as other:
        person = await agent.person()
        (interrupt,) = await interrupted(person, model, ("a", "pay", "{}"))
        resume = resumes(interrupt, {"approved": True})

        theirs = other.as_client_of(person)
        async with theirs.stream("POST", "/connect", {"threadId": "thread-1"}) as frames:
            (shown,) = (await frames.rest())[-1]["outcome"]["interrupts"]
        assert shown["metadata"] == {"agent": "assistant"}
        refused = await theirs.request("POST", "/runs", resume)
        assert (refused.status_code, refused.json()["code"]) == (409, "interrupt_of_another_agent")
        assert tools.calls == []
        async with database.owner() as owner:
            assert await owner.fetchval("select count(*) from agent.run") == 1
            assert await owner.fetchval("select status from agent.interrupt") == "open"
        # A message is what it would be at the agent of the interrupt.
        message = body("run-3", user("b", "and?"))
        answers = [await one.request("POST", "/runs", message) for one in (person, theirs)]
        assert [answer.json()["code"] for answer in answers] == ["interrupt_open"] * 2

        model.will(says("done"))
        assert text(await person.run(resume)) == "done"
    assert tool_results(model) == ["paid"]


async def test_a_run_of_another_agent_is_sent_to_the_runner(
    agent: Served, database: TestDatabase, model: ModelServer
) -> None:
    person = await agent.person()
    model.will([chunk({"content": "a"}), asyncio.Event()])
    async with runner_stub() as (address, sent):
        async with person.stream("POST", "/runs", run_input("hi")) as frames:
            await frames.until("TEXT_MESSAGE_CONTENT")
        run_id = await leave_unheld(database)
        async with support(database, model, runner_url=address) as other:
            theirs = other.as_client_of(person)
            async with theirs.stream("GET", "/runs/run-1/events"):
                await eventually(lambda: asyncio.sleep(0, run_id in sent))
    async with database.owner() as owner:
        assert await owner.fetchval("select attempt from agent.lease") == 1


async def test_without_a_runner_a_run_of_another_agent_waits_and_has_no_mark(
    agent: Served, database: TestDatabase, model: ModelServer
) -> None:
    person = await agent.person()
    async with serve(database, model, runner_url="http://127.0.0.1:1/") as sender:
        request = run_input("hi", forwardedProps={"background": True})
        await sender.as_client_of(person).request("POST", "/runs", request)
    model.will(says("done"))
    async with support(database, model) as other:
        await until_true(database, "(select dispatched_at is null from agent.lease)")
        assert await other.runs.worker.sweep() == 1
        await until_true(database, "(select dispatched_at is null from agent.lease)")
        async with database.owner() as owner:
            assert await owner.fetchval("select status from agent.run") == "queued"
            assert await owner.fetchval("select refusals from agent.lease") == 0, "it only passes"
    assert await agent.runs.worker.sweep() == 1
    await until_true(database, "(select status = 'completed' from agent.run)")


async def leave_unheld(database: TestDatabase) -> str:
    """Let the only lease look released. Returns its run."""
    async with database.owner() as owner:
        update = "update agent.lease set until = '-infinity', token = null returning run_id::text"
        return str(await owner.fetchval(update))
