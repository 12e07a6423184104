"""A user's limits: tokens per day, checked before a run and between turns; tool calls; and what clients see of them."""

import asyncio
import json

from shared.core.json import Json
from tests.doubles import DONE, CountingTools, ModelServer, Reply, calls, chunk, says
from tests.fixtures.conversations import text, types
from tests.fixtures.database import TestDatabase
from tests.fixtures.foreign import foreign
from tests.fixtures.functions import Person, run_input, serve
from tests.fixtures.interrupts import interrupted, resumes


async def test_a_user_without_tokens_is_refused_and_others_are_not(
    database: TestDatabase, model: ModelServer
) -> None:
    async with serve(database, model, daily_tokens_per_user=10) as agent:
        person, other = await agent.person(), await agent.person()
        # The fake model reports ten tokens per turn.
        model.will(says("hi"), says("hello"))
        first = run_input("hi")
        await person.run(first)

        refused = await person.request("POST", "/runs", run_input("more", run="run-2"))
        assert (refused.status_code, refused.json()["code"]) == (429, "budget_exceeded")
        assert 0 < int(refused.headers["retry-after"]) <= 86_400, "until there are new ones"
        known = await person.request("GET", "/runs/run-2")
        assert known.status_code == 404, "a rejected run leaves nothing"
        again = await person.run(first)
        assert types(again)[-1] == "RUN_FINISHED", "who comes back to a run is not refused"
        assert text(await other.run(run_input("hi"))) == "hello"


async def test_a_run_that_spends_the_last_tokens_ends_after_its_turn(
    database: TestDatabase, model: ModelServer
) -> None:
    tools = CountingTools({"look": "seen"})
    async with serve(database, model, tools, daily_tokens_per_user=10) as agent:
        person = await agent.person()
        model.will(calls(("a", "look", "{}")))
        seen = await person.run(run_input("go"))

    assert seen[-1]["metadata"] == {"incompleteReason": "budget_exceeded"}
    assert tools.calls == [("look", {})], "the calls of the turn are made"


async def test_a_provider_that_reports_no_usage_is_counted_by_an_estimate(
    database: TestDatabase, model: ModelServer
) -> None:
    async with serve(database, model, daily_tokens_per_user=10) as agent:
        person = await agent.person()
        model.will([chunk({"content": "Grüße " * 20}), chunk(finish="stop"), DONE])
        seen = await person.run(run_input("hi"))
        refused = await person.request("POST", "/runs", run_input("more", run="run-2"))

    assert refused.json()["code"] == "budget_exceeded"
    assert "usage" not in seen[-1], "clients get what a provider reports"
    async with database.owner() as owner:
        finished = await owner.fetchval(
            "select data -> 'usage' from agent.run_event where type = 'turn.finished'"
        )
        (counted,) = await owner.fetch("select * from agent.turn_usage")
    usage = json.loads(finished)
    assert usage["is_estimate"] is True
    # Rather too many than too few: 20 words of four letters and one that is not ASCII.
    assert usage["output_tokens"] == counted["output_tokens"] == 61
    assert counted["input_tokens"] > 0


async def test_cancelling_an_interrupted_run_changes_nothing(
    database: TestDatabase, model: ModelServer
) -> None:
    tools = CountingTools({"pay": "paid"}, pay={"approval": "ask"})
    async with serve(database, model, tools) as agent:
        person = await agent.person()
        (requested,) = await interrupted(person, model, ("a", "pay", "{}"))

        cancelled = await person.request("POST", "/runs/run-1/cancel")
        assert (cancelled.status_code, cancelled.json()["status"]) == (200, "interrupted")
        model.will(says("done"))
        await person.run(resumes(requested, {"approved": True}))

    assert tools.calls == [("pay", {})]


async def test_a_client_sees_what_is_left_of_its_limits(
    database: TestDatabase, model: ModelServer
) -> None:
    tools = CountingTools({"look": "seen"})
    async with serve(database, model, tools, daily_tokens_per_user=100, max_tool_calls=5) as agent:
        person, other = await agent.person(), await agent.person()
        model.will(calls(("a", "look", "{}"), ("b", "look", "{}")), says("done"))
        async with person.stream("POST", "/runs", run_input("go")) as frames:
            headers = frames.response.headers
            await frames.rest()
        known = (await person.request("GET", "/runs/run-1")).json()
        strange = await other.request("GET", "/runs/run-1")

    assert headers["ratelimit-policy"] == '"daily-tokens";q=100;w=86400'
    assert headers["ratelimit"].startswith('"daily-tokens";r=100;t=')
    assert known["limits"] == {
        "toolCalls": {"limit": 5, "left": 3},
        "dailyTokens": {"limit": 100, "left": 80},
    }
    assert strange.status_code == 404


async def test_without_a_budget_a_client_sees_none(
    database: TestDatabase, model: ModelServer
) -> None:
    async with serve(database, model) as agent:
        person = await agent.person()
        model.will(says("hi"))
        async with person.stream("POST", "/runs", run_input("go")) as frames:
            assert "ratelimit" not in frames.response.headers
            await frames.rest()
        known = (await person.request("GET", "/runs/run-1")).json()

    assert known["limits"] == {"toolCalls": {"limit": 64, "left": 64}}


async def test_a_users_calls_wait_for_each_other_across_processes(
    database: TestDatabase, model: ModelServer
) -> None:
    running, most = 0, 0

    async def work(params: Json) -> Json:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.05)
        running -= 1
        return {"content": [{"type": "text", "text": "worked"}]}

    def answer(request: Json) -> Reply:
        requested = [(str(n), "look_up", "{}") for n in range(4)]
        return Reply(
            says("done") if request["messages"][-1]["role"] == "tool" else calls(*requested)
        )

    model.answer_all = answer
    async with foreign(work) as (url, _):
        named = json.dumps({"other": {"url": url, "approval": "never"}})
        limits: Json = {"mcp_servers": named, "tool_calls_at_once": 2}
        async with (
            serve(database, model, **limits) as one,
            serve(database, model, **limits) as two,
        ):
            person = await one.person()
            there = Person(two.client, two.base, person.sub, person.session_id)
            seen = await asyncio.gather(
                person.run(run_input("go", run="run-1", thread="one")),
                there.run(run_input("go", run="run-2", thread="two")),
            )

    results = [frame for frames in seen for frame in frames if frame["type"] == "TOOL_CALL_RESULT"]
    assert [frame["content"] for frame in results] == ["worked"] * 8
    assert most == 2
