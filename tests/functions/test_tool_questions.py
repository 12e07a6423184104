"""Tools that raise questions: the answers, and the state that a client keeps meanwhile and cannot change."""

from typing import Any

import pytest

from shared.core.json import Json
from tests.doubles import ModelServer, calls, says
from tests.fixtures.conversations import text
from tests.fixtures.database import TestDatabase
from tests.fixtures.functions import Person, run_input, serve
from tests.fixtures.interrupts import resumes, tool_results
from tests.fixtures.processes import Process
from tests.fixtures.tool_calls import audited, post, result_text

YES = {"action": "accept", "content": {"yes": True}}


@pytest.fixture
async def person(odd: Process) -> Person:
    return await odd.new_person()


async def pay(someone: Person, euros: int = 5, *, can: bool = True, **more: Any) -> Json:
    """Call `pay`: its result, or its error."""
    able: Json = {"elicitation": {}} if can else {}
    meta = {"io.modelcontextprotocol/clientCapabilities": able}
    params = {"name": "pay", "arguments": {"euros": euros}, "_meta": meta, **more}
    answered: Json = (await post(someone, "tools/call", params)).json()
    result: Json = answered.get("result") or answered["error"]
    return result


def sure(answer: Json, state: Any) -> Json:
    return {"inputResponses": {"sure": answer}, "requestState": state}


async def first_question(person: Person, model: ModelServer) -> list[Json]:
    """Approve a run's call of `pay`: the frames of run-1, which ends with the tool's first question."""
    model.will(calls(("a", "pay", '{"euros": 5}')))
    (approval,) = (await person.run(run_input("pay", run="run-0")))[-1]["outcome"]["interrupts"]
    return await person.run(resumes(approval, {"approved": True}, run="run-1"))


async def test_a_tool_continues_with_its_state_and_the_answers(
    person: Person, database: TestDatabase
) -> None:
    first = await pay(person)
    second = await pay(person, **sure(YES, first["requestState"]))
    third = await pay(person, **sure(YES, second["requestState"]))

    assert first["inputRequests"]["sure"]["params"]["message"] == "Pay 5 euros?"
    assert [first["resultType"], second["resultType"]] == ["input_required"] * 2
    assert result_text(third) == "paid 5"
    questions, made = [("pay", "input_required")] * 2, [("pay", "ok")]
    assert await audited(database) == [*questions, *made], "and once when it was made"


async def test_a_state_is_valid_for_one_call_of_one_user(
    odd: Process, person: Person, database: TestDatabase
) -> None:
    other = await odd.new_person()
    first = await pay(person)
    state = (await pay(person, **sure(YES, first["requestState"])))["requestState"]
    head, _, rest = state.partition(".")

    for forged in (f"{state}x", f"{head}.{rest[::-1]}", "", 5, person.internal_token()):
        assert (await pay(person, **sure(YES, forged)))["code"] == -32602, forged
    assert (await pay(person, 500, **sure(YES, state)))["code"] == -32602, "another call's"
    assert (await pay(other, **sure(YES, state)))["code"] == -32602, "another user's"
    replay = await pay(person, **sure(YES, first["requestState"]))
    assert replay["resultType"] == "input_required", "an older state is no further"


async def test_a_run_interrupts_for_a_tools_question_and_continues_with_its_state(
    odd: Process, database: TestDatabase, model: ModelServer
) -> None:
    async with serve(database, model, tools_url=f"{odd.base}/mcp") as agent:
        person = await agent.person()
        seen = await first_question(person, model)
        for run in ("run-2", "run-3"):
            question = seen[-1]["outcome"]["interrupts"][0]
            assert (question["reason"], question["message"]) == ("input_required", "Pay 5 euros?")
            if run == "run-3":
                model.will(says("paid"))
            seen = await person.run(resumes(question, {"yes": True}, run=run))

    assert text(seen) == "paid"
    assert tool_results(model) == ["paid 5"]


async def test_an_expired_question_of_a_run_is_not_called_a_refusal(
    odd: Process, database: TestDatabase, model: ModelServer
) -> None:
    async with serve(database, model, tools_url=f"{odd.base}/mcp") as agent:
        person = await agent.person()
        seen = await first_question(person, model)
        (question,) = seen[-1]["outcome"]["interrupts"]
        async with database.owner() as owner:
            await owner.execute("update agent.interrupt set expires_at = now() - interval '1 s'")
        model.will(says("never mind"))
        dismissed = resumes(question, None, run="run-2")
        dismissed["resume"][0]["status"] = "cancelled"
        await person.run(dismissed)

    (result,) = tool_results(model)
    assert result.startswith("The user did not answer the tool's question in time.")


@pytest.mark.parametrize("action", ["decline", "cancel"])
async def test_a_declined_question_ends_the_call(
    person: Person, database: TestDatabase, action: str
) -> None:
    state = (await pay(person))["requestState"]

    refused = await pay(person, **sure({"action": action}, state))

    assert refused["isError"]
    assert result_text(refused) == "The user did not answer the tool's questions."
    assert await audited(database) == [("pay", "input_required"), ("pay", "error")]


async def test_a_client_without_forms_gets_an_error_for_a_question(person: Person) -> None:
    refused = await pay(person, can=False)

    assert refused["code"] == -32021
    assert refused["data"] == {"requiredCapabilities": {"elicitation": {}}}
    older = {"jsonrpc": "2.0", "id": 1, "method": "tools/call"}
    answered = await person.client.post(
        f"{person.base}/mcp",
        json={**older, "params": {"name": "pay", "arguments": {"euros": 5}}},
        headers={"authorization": f"Bearer {person.internal_token()}"},
    )
    assert result_text(answered.json()["result"]) == "The user did not answer the tool's questions."


@pytest.mark.parametrize("odd", [{"internal_signing_key": ""}], indirect=True)
async def test_without_a_signing_key_a_question_is_an_error(person: Person) -> None:
    assert "INTERNAL_SIGNING_KEY is not set" in result_text(await pay(person))
