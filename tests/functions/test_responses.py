"""The agent on a server with the Responses API, compared with the official client; also through a takeover."""

import asyncio
import json
import signal
from typing import Any

import openai
import pytest
from openai.types.responses import Response, ResponseReasoningItem

from shared.core.json import Json
from shared.core.settings import Settings
from shared.models.events import ModelFailed, ProviderData, TextDelta, TurnEnded
from shared.models.openai import OpenAIModel
from shared.models.requests import ModelRequest
from tests.doubles import ModelServer, Piece, Reply
from tests.fixtures.database import TestDatabase
from tests.fixtures.functions import Person, run_input, serve
from tests.fixtures.processes import started
from tests.fixtures.responses import FunctionCall, Message, Output, Reasoning, sse, stream

THOUGHT = Reasoning("gAAAcanary==", ("Look first.",))
CALL = FunctionCall("call_a", "calculator", ('{"expression":', ' "6*7"}'))
TEXT = Message(("It is ", "42."), phase="final_answer")


def will(model: ModelServer, *output: Output, **more: Any) -> None:
    pieces: list[Piece] = [*stream(*output, **more)]
    model.will(pieces)


def settings(model: ModelServer, **more: Any) -> Settings:
    given = {"openai_api_key": "test", "openai_base_url": model.url, "openai_model": "fake-1"}
    return Settings(**{**given, "openai_api": "responses", **more})


async def test_the_official_client_reads_the_same_stream(model: ModelServer) -> None:
    will(model, THOUGHT, TEXT, CALL)
    async with openai.AsyncOpenAI(api_key="test", base_url=model.url) as client:
        found = await client.responses.create(model="fake-1", input="hi", stream=True)
        events = [event async for event in found]

    assert all(type(event).__name__.startswith("Response") for event in events)
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert deltas == ["It is ", "42."]
    ending = events[-1]
    assert ending.type == "response.completed"
    Response.model_validate_json(ending.response.model_dump_json(), strict=False)
    thought, message, call = ending.response.output
    assert isinstance(thought, ResponseReasoningItem)
    assert thought.encrypted_content == "gAAAcanary=="
    assert (message.type, call.type) == ("message", "function_call")
    assert ending.response.usage
    assert ending.response.usage.output_tokens_details.reasoning_tokens == 2


async def test_the_official_client_assembles_the_same_stream(model: ModelServer) -> None:
    """The client's own accumulator is strict about the life of each item."""
    will(model, THOUGHT, TEXT, CALL)
    async with (
        openai.AsyncOpenAI(api_key="test", base_url=model.url) as client,
        client.responses.stream(model="fake-1", input="hi") as found,
    ):
        whole = await found.get_final_response()

    assert whole.output_text == "It is 42."


async def test_the_official_client_sends_the_same_request(model: ModelServer) -> None:
    """Our request equals the one that the client's typed method makes of the same parameters."""
    will(model, TEXT)
    will(model, TEXT)
    ours = OpenAIModel(settings(model))
    request = ModelRequest(items=[], instructions="be good")
    _ = [events async for events in ours.stream(request)]
    await ours.close()
    async with openai.AsyncOpenAI(api_key="test", base_url=model.url) as client:
        await client.responses.create(**model.requests[0])

    assert model.requests[0] == model.requests[1]
    assert model.paths == ["/v1/responses"] * 2


async def test_a_turn_over_the_wire(model: ModelServer) -> None:
    will(model, THOUGHT, TEXT)
    ours = OpenAIModel(settings(model))
    found = [e async for es in ours.stream(ModelRequest(items=[], instructions="")) for e in es]
    await ours.close()

    assert [event.text for event in found if isinstance(event, TextDelta)] == ["It is ", "42."]
    assert isinstance(found[-1], TurnEnded)
    (kept,) = (e for e in found if isinstance(e, ProviderData) and e.belongs_to == "next")
    assert kept.origin == {"api": "responses", "base_url": model.url}


@pytest.mark.parametrize(
    ("reply", "code", "retryable"),
    [
        (Reply(status=401), "model_rejected", False),
        (Reply(stream(TEXT)[:-1]), "model_broke_off", True),
        (Reply(stream(TEXT)[:-1], cuts=True), "model_unreachable", True),
        (Reply([sse({"type": "error", "code": "x", "message": "canary"})]), "model_failed", True),
        (Reply(stream(status="failed")), "model_failed", True),
        (Reply([*stream(TEXT)[:4], 5.0]), "model_timeout", True),
    ],
)
async def test_failures_have_the_same_codes_as_with_the_other_api(
    model: ModelServer, reply: Reply, code: str, retryable: bool
) -> None:
    model.will(reply)
    ours = OpenAIModel(settings(model, model_silence_seconds=0.3))
    with pytest.raises(ModelFailed) as failed:
        _ = [events async for events in ours.stream(ModelRequest(items=[], instructions=""))]
    await ours.close()

    assert (failed.value.code, failed.value.retryable) == (code, retryable)
    assert "canary" not in failed.value.message


async def test_reasoning_survives_a_takeover_and_is_not_shown_to_clients(
    database: TestDatabase, model: ModelServer
) -> None:
    """A turn calls a tool; the process is killed in the next turn; another process repeats that turn."""
    never = asyncio.Event()
    will(model, THOUGHT, CALL)
    model.will([*stream(TEXT)[:5], never])
    will(model, TEXT)
    will(model, Message(("Bye.",)))
    async with started("tools", database, model) as tools:
        to: Json = {"openai_api": "responses", "tools_url": f"{tools.base}/mcp"}
        async with started("assistant", database, model, **to) as first:
            person = Person(first.client, first.base)
            async with database.owner() as owner:
                await owner.execute("insert into auth.users (id) values ($1)", person.sub)
            async with person.stream("POST", "/runs", run_input("6*7?")) as frames:
                frame = await frames.until("TEXT_MESSAGE_CONTENT")
                await first.signal(signal.SIGKILL)
        async with started("assistant", database, model, **to) as second:
            back = second.person(person)
            async with back.stream("POST", "/connect", {"threadId": "thread-1"}) as attached:
                seen = await attached.rest()
            more = await back.run(run_input("bye", run="run-2"))
    never.set()

    assert frame["delta"] == "It is "
    assert seen[-1]["type"] == "RUN_FINISHED"
    calculation, repeated, third, fourth = model.requests
    assert repeated == third
    assert calculation["include"] == ["reasoning.encrypted_content"]
    question, thought, call, result = third["input"]
    assert thought == THOUGHT.item(ended=True)
    assert call["arguments"] == '{"expression": "6*7"}'
    assert result["call_id"] == call["call_id"] == "call_a"
    assert "42" in result["output"]
    # The next run sends it back, too, and the phase of the last message.
    assert fourth["input"][:4] == [question, thought, call, result]
    assert fourth["input"][4]["phase"] == "final_answer"
    assert "canary" not in json.dumps([seen, more])
    await _assert_hidden(database, model, person)


async def _assert_hidden(database: TestDatabase, model: ModelServer, person: Person) -> None:
    """Data for the provider is stored, and in no answer of `threads`."""
    async with database.owner() as owner:
        kept = "select count(*) from agent.item where data -> 'provider' ->> 'api' = 'responses'"
        assert await owner.fetchval(kept) == 2
    async with started("threads", database, model) as threads:
        reader = threads.person(person)
        reader.function = "threads"
        for path in (
            "/threads/thread-1/items",
            "/threads/thread-1/runs/run-1/log",
            "/threads/thread-1/export",
            "/threads/thread-1/export?format=markdown",
            "/me/export",
        ):
            answer = await reader.request("GET", path)
            assert answer.status_code == 200, answer.text
            assert "canary" not in answer.text
            assert "final_answer" not in answer.text
            assert '"provider"' not in answer.text


async def test_another_api_gets_no_reasoning_of_the_responses_api(
    database: TestDatabase, model: ModelServer
) -> None:
    will(model, THOUGHT, TEXT)
    async with serve(database, model, openai_api="responses") as agent:
        person = await agent.person()
        await person.run(run_input("hi"))
    model.will([b'data: {"choices": [{"delta": {}, "finish_reason": "stop"}]}\n\n'])
    async with serve(database, model) as agent:
        again = Person(agent.client, agent.base, person.sub, person.session_id)
        await again.run(run_input("again", run="run-2"))

    assert "canary" not in json.dumps(model.requests[1])
    assert [m["role"] for m in model.requests[1]["messages"]] == [
        *("system", "user", "assistant", "user"),
    ]


async def test_a_thread_survives_a_provider_that_refuses_its_own_reasoning(
    database: TestDatabase, model: ModelServer
) -> None:
    """As after a change of the key's organization."""

    def answer(request: Json) -> Reply:
        has_reasoning = any(item.get("type") == "reasoning" for item in request["input"])
        return Reply(status=400) if has_reasoning else Reply([*stream(THOUGHT, TEXT)])

    model.answer_all = answer
    async with serve(database, model, openai_api="responses") as agent:
        person = await agent.person()
        await person.run(run_input("hi"))
        later = await person.run(run_input("and now?", run="run-2"))

    assert later[-1]["type"] == "RUN_FINISHED", later[-1]
    refused, accepted = model.requests[1:]
    texts = [item["content"] for item in accepted["input"] if item.get("role") == "user"]
    assert len(texts) == 2
    assert len(refused["input"]) == len(accepted["input"]) + 1, "only the reasoning is left out"
