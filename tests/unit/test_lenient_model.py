"""A model's server as it is: what it refuses, how it ends a response, and what a failure says about it."""

import asyncio
import json
import logging
from typing import Any

import pytest

from shared.core.items import Item
from shared.core.json import Json
from shared.core.settings import Settings
from shared.models import openai as openai_model
from shared.models.events import ModelEvent, ModelFailed, TextDelta, ToolCallDelta, TurnEnded
from shared.models.openai import OpenAIModel
from shared.models.requests import ModelRequest, ModelSettings, ToolSpecification
from tests.doubles import DONE, USAGE, ModelServer, Reply, chunk, model_server, says
from tests.fixtures import responses
from tests.fixtures.responses import Message

HELLO = ModelRequest(
    items=[Item("u", "message", {"role": "user", "content": "hi"})], instructions="be good"
)


def error(status: int, **members: Any) -> Reply:
    return Reply([json.dumps({"error": members}).encode()], status=status)


async def ask(
    server: ModelServer, *requests: ModelRequest, query: str = "", **settings: Any
) -> list[list[ModelEvent]]:
    """The events of these requests, by one client."""
    model = OpenAIModel(
        Settings(openai_base_url=server.url + query, openai_model="fake-1", **settings)
    )
    try:
        return [
            [event async for events in model.stream(request) for event in events]
            for request in requests or [HELLO]
        ]
    finally:
        await model.close()


async def fails(server: ModelServer, **settings: Any) -> ModelFailed:
    with pytest.raises(ModelFailed) as failed:
        await ask(server, **settings)
    return failed.value


REFUSALS = [
    error(400, message="Unrecognized request argument supplied: stream_options"),
    error(400, message="Validation error at #/stream_options: Extra inputs are not permitted"),
    Reply(
        [b'{"detail": [{"type": "extra_forbidden", "loc": ["body", "stream_options"]}]}'],
        status=422,
    ),
    Reply([b"unknown field `stream_options`"], status=400),
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=["openai", "azure", "mistral", "text"])
async def test_a_server_that_refuses_stream_options_gets_none_from_then_on(
    refusal: Reply, caplog: pytest.LogCaptureFixture
) -> None:
    async with model_server() as server:
        server.will(refusal, says("a"), says("b"))
        with caplog.at_level(logging.WARNING):
            first, second = await ask(server, HELLO, HELLO)

    assert (first[0], second[0]) == (TextDelta("a"), TextDelta("b"))
    assert ["stream_options" in request for request in server.requests] == [True, False, False]
    (line,) = [record for record in caplog.records if record.message == "model.member_refused"]
    assert vars(line)["members"] == ["stream_options"]


async def test_what_the_agent_sets_itself_is_sent_again_to_be_refused() -> None:
    chosen = ModelSettings(extra_body={"stream_options": {"include_usage": False}})
    request = ModelRequest(items=HELLO.items, instructions="", settings=chosen)
    async with model_server() as server:
        server.will(REFUSALS[0], REFUSALS[0])
        with pytest.raises(ModelFailed):
            await ask(server, request)


async def test_a_model_that_cannot_encrypt_its_reasoning_is_not_requested_to() -> None:
    refusal = error(400, message="Encrypted content is not supported.", param="include")
    async with model_server() as server:
        server.will(refusal, Reply(responses.stream(Message(("a",)))))
        ((text, _),) = await ask(server, openai_api="responses")

    assert text == TextDelta("a")
    assert ["include" in request for request in server.requests] == [True, False]


async def test_another_refusal_is_not_repeated_and_says_what_the_provider_refused() -> None:
    async with model_server() as server:
        param = "tools[3].function.name"
        server.will(error(400, message="canary", type="invalid_request_error", param=param))
        failed = await fails(server)

    assert len(server.requests) == 1
    assert failed.message == f"The model's API answered 400 (invalid_request_error: {param})."
    assert failed.facts == {
        "code": "model_rejected",
        "status": 400,
        "provider_code": "invalid_request_error",
        "parameter": param,
    }


async def test_a_quota_that_is_spent_is_not_waited_for() -> None:
    async with model_server() as server:
        server.will(error(429, type="insufficient_quota", code="insufficient_quota"))
        failed = await fails(server)

    assert (failed.status, failed.provider_code, failed.retryable) == (
        *(429, "insufficient_quota"),
        False,
    )


@pytest.mark.parametrize("has_usage", [True, False])
async def test_a_connection_that_breaks_after_the_finish_reason_ends_a_complete_answer(
    has_usage: bool,
) -> None:
    pieces = [chunk({"content": "a"}), chunk(finish="stop")]
    async with model_server() as server:
        server.will(Reply([*pieces, *([chunk(usage=USAGE)] if has_usage else [])], cuts=True))
        ((text, ended),) = await ask(server)

    assert text == TextDelta("a")
    assert isinstance(ended, TurnEnded)
    assert (ended.reason, ended.usage.total) == ("stop", 10 if has_usage else 0)


async def test_a_connection_that_breaks_before_it_does_not() -> None:
    async with model_server() as server:
        server.will(Reply([chunk({"content": "a"})], cuts=True))
        failed = await fails(server)
    assert failed.code == "model_unreachable"


async def test_a_server_that_is_silent_after_the_finish_reason_has_sent_the_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(openai_model, "_PAUSE_SECONDS", 0.01)
    async with model_server() as server:
        server.will([chunk({"content": "a"}), chunk(finish="stop"), asyncio.Event()])
        ((text, ended),) = await ask(server)

    assert text == TextDelta("a")
    assert isinstance(ended, TurnEnded)


async def test_the_usage_after_the_finish_reason_is_waited_for() -> None:
    async with model_server() as server:
        server.will([chunk({"content": "a"}), chunk(finish="stop"), 0.05, chunk(usage=USAGE), DONE])
        ((_, ended),) = await ask(server)

    assert isinstance(ended, TurnEnded)
    assert ended.usage.total == 10


async def test_json_instead_of_a_stream_is_an_answer() -> None:
    message = {"role": "assistant", "content": "a"}
    body = {"choices": [{"message": message, "finish_reason": "stop"}], "usage": USAGE}
    reply = Reply([json.dumps(body).encode()], headers={"content-type": "application/json"})
    async with model_server() as server:
        server.will(reply)
        ((text, ended),) = await ask(server)

    assert text == TextDelta("a")
    assert isinstance(ended, TurnEnded)
    assert (ended.reason, ended.usage.total) == ("stop", 10)


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ("?api-version=7", "/v1/chat/completions?api-version=7"),
        ("/?api-version=7&a=b", "/v1/chat/completions?api-version=7&a=b"),
    ],
)
async def test_an_address_with_a_query_keeps_it_behind_the_path(query: str, path: str) -> None:
    async with model_server() as server:
        server.will(says("a"))
        await ask(server, query=query)
    assert server.paths == [path]


async def test_an_error_in_the_stream_that_lasts_is_not_retryable() -> None:
    reported: Json = {"error": {"code": 400, "message": "canary"}}
    async with model_server() as server:
        server.will([chunk({"content": "a"}), b"data: %b\n\n" % json.dumps(reported).encode()])
        failed = await fails(server)
    assert (failed.code, failed.status, failed.retryable) == ("model_rejected", 400, False)


async def test_a_call_by_the_models_name_is_one_of_the_tool() -> None:
    tools = [ToolSpecification(name, "", {}) for name in ("検索する", "ui.confirm")]
    request = ModelRequest(items=HELLO.items, instructions="", tools=tools)

    def answer(sent: Json) -> Reply:
        names = [tool["function"]["name"] for tool in sent["tools"]]
        made = [
            {"index": nth, "id": name, "function": {"name": name, "arguments": "{}"}}
            for nth, name in enumerate(names)
        ]
        return Reply([chunk({"tool_calls": made}), chunk(finish="tool_calls"), DONE])

    async with model_server() as server:
        server.answer_all = answer
        (events,) = await ask(server, request)

    called = [event.name for event in events if isinstance(event, ToolCallDelta)]
    assert called == ["検索する", "ui.confirm"]


async def test_tools_for_which_there_is_no_room_are_in_the_log_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tools = [ToolSpecification(f"tool{nth}", "", {}) for nth in range(5)]
    request = ModelRequest(items=HELLO.items, instructions="", tools=tools)
    own = ModelRequest(
        items=HELLO.items, instructions="", tools=tools, settings=ModelSettings(max_tools=5)
    )
    async with model_server() as server:
        server.will(says("a"), says("b"), says("c"))
        with caplog.at_level(logging.WARNING):
            await ask(server, request, request, own, model_max_tools=3)

    assert [len(sent["tools"]) for sent in server.requests] == [3, 3, 5]
    (line,) = [record for record in caplog.records if record.message == "tools.too_many"]
    assert (vars(line)["count"], vars(line)["tools"]) == (2, ["tool3", "tool4"])
