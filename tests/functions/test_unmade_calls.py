"""Calls that cannot be made, because their arguments are broken or their turn was cut off: the model learns why."""

from shared.core.json import Json
from tests.doubles import DONE, USAGE, ModelServer, Piece, calls, chunk, says
from tests.fixtures.conversations import types
from tests.fixtures.functions import Served, run_input
from tests.fixtures.provider_rules import EVERY, faults

TOOLS = [{"name": "pick", "parameters": {"type": "object", "properties": {}}}]
HALF = '{"expression": "6*'


def made(request: Json) -> list[tuple[str, str]]:
    """The arguments and the result of each call in a request."""
    messages = request["messages"]
    results = {m["tool_call_id"]: m["content"] for m in messages if m["role"] == "tool"}
    sent = [call for m in messages for call in m.get("tool_calls", ())]
    return [(call["function"]["arguments"], results[call["id"]]) for call in sent]


def cut_off(arguments: str) -> list[Piece]:
    """A turn that reaches the limit of its tokens in a call."""
    head = {"index": 0, "id": "call_0", "type": "function"}
    call = {**head, "function": {"name": "pick", "arguments": arguments}}
    return [
        chunk({"tool_calls": [call]}),
        chunk(finish="length"),
        chunk(usage=USAGE),
        DONE,
    ]


async def test_broken_arguments_of_a_frontend_call_are_returned_to_the_model(
    agent: Served, model: ModelServer
) -> None:
    person = await agent.person()
    model.will(calls(("call_0", "pick", HALF)), says("sorry"), says("hello"))

    frames = await person.run(run_input("hi", tools=TOOLS))
    await person.run(run_input("again", run="run-2", tools=TOOLS))

    assert "TOOL_CALL_RESULT" in types(frames)
    assert frames[-1]["outcome"] == {"type": "success"}
    for request in model.requests[1:]:
        ((arguments, result),) = made(request)
        assert arguments == "{}"
        assert result.startswith("The arguments are not valid JSON")
        assert HALF in result


async def test_a_whole_call_beside_a_broken_one_waits_for_the_frontend(
    agent: Served, model: ModelServer
) -> None:
    person = await agent.person()
    model.will(calls(("call_0", "pick", HALF), ("call_1", "pick", "{}")))

    frames = await person.run(run_input("hi", tools=TOOLS))

    starts = [f["toolCallId"] for f in frames if f["type"] == "TOOL_CALL_START"]
    assert frames[-1]["outcome"]["pendingToolCallIds"] == [starts[1]]
    assert [f["toolCallId"] for f in frames if f["type"] == "TOOL_CALL_RESULT"] == [starts[0]]


async def test_the_calls_of_a_turn_that_was_cut_off_are_not_made_and_say_so(
    agent: Served, model: ModelServer
) -> None:
    person = await agent.person()
    model.will(cut_off(HALF), cut_off("{}"), says("hello"))

    await person.run(run_input("hi", tools=TOOLS))
    await person.run(run_input("continue", run="run-2", tools=TOOLS))
    await person.run(run_input("continue", run="run-3", tools=TOOLS))

    assert made(model.requests[-1]) == [
        ("{}", "The call was not made: the response ended before it was whole."),
        ("{}", "The call was not made: the response ended before it was whole."),
    ]
    for server in set(EVERY) - {"Mistral"}:
        assert faults(model.requests[-1]["messages"], server) == []
