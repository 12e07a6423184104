"""Calls that need approval: raised as interrupts, answered by a later run, made at most once."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Any

import pytest
from pydantic import AfterValidator

from shared.agents.agent import Agent
from shared.agents.function_tool import tool
from shared.agents.tools import Question
from shared.core.json import Json
from tests.doubles import CountingTools, ModelServer, calls, says
from tests.fixtures.conversations import text, types
from tests.fixtures.database import TestDatabase
from tests.fixtures.functions import Served, run_input, serve
from tests.fixtures.interrupts import interrupted, resumes, tool_results

PAY: Json = {
    "type": "object",
    "properties": {"euros": {"type": "integer"}, "to": {"type": "string", "format": "uuid"}},
    "required": ["euros"],
}


@pytest.fixture
def tools() -> CountingTools:
    return CountingTools(
        {"look": "seen", "pay": "paid", "move": "moved"},
        pay={"approval": "ask", "parameters": PAY},
        move={"approval": "edit", "parameters": PAY},
    )


@pytest.fixture
async def agent(
    database: TestDatabase, model: ModelServer, tools: CountingTools
) -> AsyncIterator[Served]:
    async with serve(database, model, tools) as served:
        yield served


async def test_a_call_that_needs_approval_ends_the_run_after_the_calls_that_need_none(
    agent: Served, model: ModelServer, tools: CountingTools
) -> None:
    person = await agent.person()

    (interrupt,) = await interrupted(
        person, model, ("a", "look", "{}"), ("b", "pay", '{"euros": 5}')
    )

    assert tools.calls == [("look", {})]
    assert interrupt["reason"] == "tool_call"
    assert interrupt["message"] == "May pay be called?"
    assert interrupt["responseSchema"]["required"] == ["approved"]
    assert "arguments" not in interrupt["responseSchema"]["properties"]
    assert interrupt["expiresAt"] > "2026"
    assert interrupt["metadata"] == {"agent": "assistant"}
    shown = (await person.request("GET", "/runs/run-1")).json()
    assert (shown["status"], shown["interrupts"]) == ("interrupted", [interrupt])


async def test_an_approved_call_is_made_once_and_only_its_result_is_shown(
    agent: Served, model: ModelServer, tools: CountingTools
) -> None:
    person = await agent.person()
    (interrupt,) = await interrupted(person, model, ("b", "pay", '{"euros": 5}'))
    model.will(says("done"))

    seen = await person.run(resumes(interrupt, {"approved": True}))

    assert tools.calls == [("pay", {"euros": 5})]
    assert "TOOL_CALL_START" not in types(seen)
    (result,) = [frame for frame in seen if frame["type"] == "TOOL_CALL_RESULT"]
    assert (result["toolCallId"], result["content"]) == (interrupt["toolCallId"], "paid")
    assert text(seen) == "done"
    assert tool_results(model) == ["paid"]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"payload": {"approved": False, "reason": "too much"}}, "Their reason: too much"),
        ({"payload": {"approved": "true"}}, "did not allow"),
        ({"payload": None}, "did not allow"),
        ({"status": "cancelled", "payload": {"approved": True}}, "did not allow"),
    ],
)
async def test_without_a_plain_approval_the_call_is_refused_and_the_model_gets_the_reason(
    agent: Served, model: ModelServer, tools: CountingTools, answer: Json, reason: str
) -> None:
    person = await agent.person()
    (interrupt,) = await interrupted(person, model, ("b", "pay", '{"euros": 5}'))
    model.will(says("as you wish"))

    await person.run(resumes(interrupt, **answer))

    assert tools.calls == []
    assert reason in tool_results(model)[0]


async def test_arguments_are_changed_only_where_the_policy_allows_it(
    agent: Served, model: ModelServer, tools: CountingTools, database: TestDatabase
) -> None:
    person = await agent.person()
    interrupts = await interrupted(
        person, model, ("a", "pay", '{"euros": 5}'), ("b", "move", '{"euros": 5}')
    )
    model.will(says("done"))
    changed = {"approved": True, "arguments": {"euros": 9}}
    both = [{"interruptId": a["id"], "status": "resolved", "payload": changed} for a in interrupts]

    await person.run({**resumes(interrupts[0]), "resume": both})

    assert sorted(tools.calls) == [("move", {"euros": 9}), ("pay", {"euros": 5})]
    async with database.owner() as owner:
        kept = await owner.fetchval(
            "select data -> 'arguments' from agent.run_event where type = 'interrupt.resolved'"
            " and data ? 'arguments'"
        )
    assert kept == '"{\\"euros\\":9}"'


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ({"euros": "nine"}, 'The arguments do not fit the tool: euros: "nine" is not of type'),
        ("all", 'The arguments are not a JSON object: "all"'),
        ([], "The arguments are not a JSON object: []"),
    ],
)
async def test_changed_arguments_that_do_not_fit_are_not_replaced_by_the_models(
    agent: Served, model: ModelServer, tools: CountingTools, arguments: Any, fault: str
) -> None:
    person = await agent.person()
    (interrupt,) = await interrupted(person, model, ("b", "move", '{"euros": 5}'))
    model.will(says("I see"))

    seen = await person.run(resumes(interrupt, {"approved": True, "arguments": arguments}))

    assert text(seen) == "I see"
    (result,) = tool_results(model)
    assert result.startswith(f"The user changed the arguments, and the call was not made. {fault}")
    assert tools.calls == []


async def test_of_several_calls_only_those_that_can_be_made_raise_an_interrupt(
    agent: Served, model: ModelServer, tools: CountingTools
) -> None:
    person = await agent.person()
    (interrupt,) = await interrupted(
        person,
        model,
        ("a", "pay", '{"euros": 5}'),
        ("b", "pay", '{"euros": 5, "to": "my landlord"}'),
        ("c", "move", '{"euros": [5]}'),
        ("d", "give", '{"euros": 5}'),
    )
    shown = (await person.request("GET", "/runs/run-1")).json()
    assert shown["interrupts"] == [interrupt]
    model.will(says("done"))
    await person.run(resumes(interrupt, {"approved": True}))

    assert tools.calls == [("pay", {"euros": 5})]
    assert sorted(tool_results(model)) == [
        'The arguments do not fit the tool: euros: [5] is not of type "integer".',
        'The arguments do not fit the tool: to: "my landlord" is not a "uuid".',
        "There is no tool named 'give'.",
        "paid",
    ]


def in_stock(product: str) -> str:
    """A rule that no schema has; for one product, it fails itself."""
    if product == "broken":
        raise KeyError(product)
    if product != "tea":
        raise ValueError("the shop has tea only")
    return product


@tool(destructive=True)
def order(product: Annotated[str, AfterValidator(in_stock)], when: datetime) -> str:
    """Order a product."""
    return f"{product} ordered for {when:%A}"


@pytest.mark.parametrize(
    ("arguments", "result"),
    [
        ({"product": "milk", "when": "2026-11-29 12:00"}, "product: Value error, the shop has"),
        ({"product": "tea", "when": "on Monday"}, 'when: "on Monday" is not a "date-time"'),
        ({"product": "broken", "when": "2026-11-29 12:00"}, "The tool failed."),
        ({"product": "tea"}, '"when" is a required property'),
    ],
)
async def test_what_the_tools_own_types_reject_raises_no_interrupt(
    database: TestDatabase, model: ModelServer, arguments: Json, result: str
) -> None:
    good = {"product": "tea", "when": "2026-11-29 12:00"}
    async with serve(database, model, agent=Agent(instructions="sell", tools=[order])) as served:
        person = await served.person()
        model.will(calls(("a", "order", json.dumps(arguments))))
        (interrupt,) = await interrupted(person, model, ("b", "order", json.dumps(good)))
        assert result in tool_results(model)[0]
        model.will(says("done"))
        await person.run(resumes(interrupt, {"approved": True}))

    assert tool_results(model)[1] == "tea ordered for Sunday"


async def test_a_call_that_cannot_be_made_raises_no_interrupt(
    agent: Served, model: ModelServer, tools: CountingTools
) -> None:
    person = await agent.person()
    model.will(calls(("b", "pay", '{"euros": "five"}')), says("sorry"))

    assert types(await person.run(run_input("go")))[-1] == "RUN_FINISHED"

    assert tool_results(model) == [
        'The arguments do not fit the tool: euros: "five" is not of type "integer".'
    ]
    assert tools.calls == []


async def test_a_tool_gets_the_answer_to_its_own_question(
    database: TestDatabase, model: ModelServer
) -> None:
    name = {"type": "object", "properties": {"name": {"type": "string"}}}

    async def greet(_: Json) -> Question | str:
        answer = greeting.answers[-1]
        if answer is None:
            return Question("What is your name?", name, state={"step": 1})
        return f"hello {answer['payload']['name']}, step {answer['state']['step']}"

    greeting = CountingTools({"greet": greet})
    async with serve(database, model, greeting) as agent:
        person = await agent.person()
        (interrupt,) = await interrupted(person, model, ("a", "greet", "{}"))
        assert (interrupt["reason"], interrupt["responseSchema"]) == ("input_required", name)
        assert "state" not in interrupt, "the client does not get the tool's state"
        model.will(says("done"))
        await person.run(resumes(interrupt, {"name": "Ada"}))

    assert tool_results(model) == ["hello Ada, step 1"]


async def test_an_expired_interrupt_cannot_be_answered_and_does_not_block_the_thread(
    agent: Served, model: ModelServer, tools: CountingTools, database: TestDatabase
) -> None:
    person = await agent.person()
    (interrupt,) = await interrupted(person, model, ("b", "pay", '{"euros": 5}'))
    async with database.owner() as owner:
        await owner.execute("update agent.interrupt set expires_at = now() - interval '1 second'")

    late = await person.request("POST", "/runs", resumes(interrupt, {"approved": True}))
    assert (late.status_code, late.json()["code"]) == (409, "interrupt_expired")

    model.will(says("hello again"))
    seen = await person.run(run_input("anything else?", run="run-3"))
    assert text(seen) == "hello again"
    assert tools.calls == []


async def test_an_expired_interrupt_can_be_dismissed_beside_another_answer(
    agent: Served, model: ModelServer, tools: CountingTools, database: TestDatabase
) -> None:
    person = await agent.person()
    calls = (("a", "pay", '{"euros": 5}'), ("b", "pay", '{"euros": 6}'))
    expired, valid = await interrupted(person, model, *calls)
    async with database.owner() as owner:
        await owner.execute(
            "update agent.interrupt set expires_at = now() - interval '1 s' where id = $1",
            expired["id"],
        )
    body = resumes(valid, {"approved": True})
    body["resume"].append({"interruptId": expired["id"], "status": "cancelled"})
    model.will(says("as you wish"))

    assert text(await person.run(body)) == "as you wish"
    assert tools.calls == [("pay", {"euros": 6})]
    async with database.owner() as owner:
        outcomes = await owner.fetch(
            "select outcome from agent.audit_event where action = 'interrupt.answer' order by 1"
        )
    assert [row["outcome"] for row in outcomes][-2:] == ["expired", "resolved"]


async def test_only_one_of_many_answers_to_an_interrupt_counts(
    agent: Served, model: ModelServer, tools: CountingTools
) -> None:
    person = await agent.person()
    (interrupt,) = await interrupted(person, model, ("b", "pay", '{"euros": 5}'))
    model.will(says("done"))
    answers = [resumes(interrupt, {"approved": True}, run=f"run-{n}") for n in range(2, 8)]

    responses = await asyncio.gather(*(person.request("POST", "/runs", a) for a in answers))

    assert sorted(r.status_code for r in responses) == [200, *[409] * 5]
    refused = {r.json()["code"] for r in responses if r.status_code == 409}
    assert refused <= {"thread_busy", "interrupt_resolved"}
    assert tools.calls == [("pay", {"euros": 5})]


async def test_another_user_cannot_answer_an_interrupt(
    agent: Served, model: ModelServer, tools: CountingTools
) -> None:
    person, other = await agent.person(), await agent.person()
    (interrupt,) = await interrupted(person, model, ("b", "pay", '{"euros": 5}'))

    refused = await other.request("POST", "/runs", resumes(interrupt, {"approved": True}))

    assert (refused.status_code, refused.json()["code"]) == (422, "nothing_to_answer")
    assert tools.calls == []


async def test_a_run_makes_no_more_tool_calls_than_its_limit(
    database: TestDatabase, model: ModelServer, tools: CountingTools
) -> None:
    async with serve(database, model, tools, max_tool_calls=1) as few:
        person = await few.person()
        model.will(calls(("a", "look", "{}"), ("b", "look", "{}")), says("enough"))
        assert text(await person.run(run_input("go"))) == "enough"

    assert tools.calls == [("look", {})]
    assert any("all the calls" in result for result in tool_results(model))


async def test_calls_refusals_and_answers_are_in_the_audit(
    agent: Served, model: ModelServer, database: TestDatabase
) -> None:
    person = await agent.person()
    interrupts = await interrupted(
        person,
        model,
        ("a", "look", "{}"),
        ("b", "pay", '{"euros": 5}'),
        ("c", "pay", '{"euros": 6}'),
        ("d", "gone", '{"secret": "canary"}'),
    )
    model.will(says("done"))
    answers = [
        {"interruptId": interrupts[0]["id"], "status": "resolved", "payload": {"approved": True}},
        {"interruptId": interrupts[1]["id"], "status": "cancelled"},
    ]
    await person.run({**resumes(interrupts[0]), "resume": answers})

    async with database.owner() as owner:
        rows = await owner.fetch("select * from agent.audit_event order by id")
    found = sorted((r["action"], r["subject"], r["outcome"]) for r in rows)
    ids = sorted((a["id"], o) for a, o in zip(interrupts, ("resolved", "cancelled"), strict=True))
    assert found == [
        *(("interrupt.answer", id_, outcome) for id_, outcome in ids),
        ("tool.call", "gone", "error"),
        ("tool.call", "look", "ok"),
        ("tool.call", "pay", "ok"),
        ("tool.call", "pay", "refused"),
    ]
    assert {str(r["owner"]) for r in rows} == {person.sub}
    assert all(r["run_id"] and r["request_id"] for r in rows)
    assert all(len(r["arguments_hash"]) == 64 for r in rows if r["action"] == "tool.call")
    assert "canary" not in str([dict(r) for r in rows])
