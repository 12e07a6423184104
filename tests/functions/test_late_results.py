"""The result of a frontend call that comes late: after the user spoke, or after the result of another call."""

from shared.core.json import Json
from tests.doubles import ModelServer, calls, says
from tests.fixtures.conversations import messages, user
from tests.fixtures.functions import Person, Served
from tests.fixtures.provider_rules import EVERY, faults

TOOLS = [{"name": "pick", "parameters": {"type": "object", "properties": {}}}]


async def run(person: Person, name: str, *history: Json) -> list[Json]:
    """The frames of a run of `thread-1`."""
    body = {"threadId": "thread-1", "runId": name, "messages": list(history), "tools": TOOLS}
    return await person.run(body)


async def called(person: Person) -> Json:
    """Start the thread. Returns the assistant's message with its calls, as a client has it."""
    frames = await run(person, "run-1", user("u", "hi"))
    starts = [frame for frame in frames if frame["type"] == "TOOL_CALL_START"]
    made = [{"id": s["toolCallId"], "type": "function", "function": {}} for s in starts]
    return {"id": starts[0]["parentMessageId"], "role": "assistant", "toolCalls": made}


def answer(message: Json, nth: int, content: str) -> Json:
    call_id = message["toolCalls"][nth]["id"]
    return {"id": f"answer-{nth}", "role": "tool", "toolCallId": call_id, "content": content}


def message_id(frames: list[Json]) -> str:
    return str(next(f["messageId"] for f in frames if f["type"] == "TEXT_MESSAGE_START"))


def results(model: ModelServer) -> list[str]:
    """What the model reads as the results of calls, in the last request."""
    return [m["content"] for m in model.requests[-1]["messages"] if m["role"] == "tool"]


async def test_a_client_may_put_a_late_result_after_its_call(
    agent: Served, model: ModelServer
) -> None:
    person = await agent.person()
    model.will(calls(("call_0", "pick", "{}")), says("fine"), says("blue"), says("bye"))
    made = await called(person)
    frames = await run(person, "run-2", user("u", "hi"), made, user("v", "never mind"))
    said = {"id": message_id(frames), "role": "assistant", "content": "fine"}
    late = [user("u", "hi"), made, answer(made, 0, "blue"), user("v", "never mind"), said]

    await run(person, "run-3", *late, user("w", "and now?"))
    assert results(model) == ["blue"]
    assert [m["role"] for m in model.requests[-1]["messages"][-2:]] == ["assistant", "user"]

    # The result is stored once.
    await run(person, "run-4", *late, user("w", "and now?"), user("x", "bye"))
    assert results(model) == ["blue"]
    for server in EVERY:
        found = faults(model.requests[-1]["messages"], server)
        # The id is that of this server.
        assert [fault for fault in found if "9 letters" not in fault] == []


async def test_a_late_result_alone_starts_a_run(agent: Served, model: ModelServer) -> None:
    person = await agent.person()
    model.will(calls(("call_0", "pick", "{}")), says("fine"), says("blue"))
    made = await called(person)
    frames = await run(person, "run-2", user("u", "hi"), made, user("v", "never mind"))
    said = {"id": message_id(frames), "role": "assistant", "content": "fine"}

    late = [user("u", "hi"), made, answer(made, 0, "blue"), user("v", "never mind"), said]
    frames = await run(person, "run-3", *late)

    assert frames[-1]["outcome"] == {"type": "success"}
    assert results(model) == ["blue"]
    # The request does not end with what the model has said.
    assert model.requests[-1]["messages"][-1]["role"] == "user"


async def test_the_result_of_a_sibling_may_come_later(agent: Served, model: ModelServer) -> None:
    person = await agent.person()
    twice = calls(("call_0", "pick", "{}"), ("call_1", "pick", "{}"))
    model.will(twice, says("one"), says("both"))
    made = await called(person)

    frames = await run(person, "run-2", user("u", "hi"), made, answer(made, 0, "blue"))
    said = {"id": message_id(frames), "role": "assistant", "content": "one"}
    assert results(model)[0] == "blue"
    both = [answer(made, 0, "blue"), answer(made, 1, "red")]
    await run(person, "run-3", user("u", "hi"), made, *both, said)

    assert results(model) == ["blue", "red"]
    assert model.requests[-1]["messages"][-1]["role"] == "user"


async def test_a_late_result_of_a_call_that_an_edit_replaces_is_not_stored(
    agent: Served, model: ModelServer
) -> None:
    person = await agent.person()
    model.will(calls(("call_0", "pick", "{}")), says("hello"))
    made = await called(person)

    await run(person, "run-2", user("u", "hello"), answer(made, 0, "blue"))

    assert [m["role"] for m in model.requests[-1]["messages"]] == ["system", "user"]
    assert [m["role"] for m in await messages(person)] == ["user", "assistant"]


async def test_a_frontends_error_is_the_result(agent: Served, model: ModelServer) -> None:
    person = await agent.person()
    model.will(calls(("call_0", "pick", "{}")), says("pity"))
    made = await called(person)

    failed = {**answer(made, 0, ""), "error": "The palette is empty."}
    await run(person, "run-2", user("u", "hi"), made, failed)

    assert results(model) == ["Error: The palette is empty."]
