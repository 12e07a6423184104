"""The Responses API: the requests that are sent, which OpenAI's own types accept."""

from typing import Any

import pytest
from openai.types.responses import ResponseInputItemParam, response_create_params
from openai.types.responses.response_output_message_param import ResponseOutputMessageParam
from pydantic import TypeAdapter

from shared.core.items import Item, Usage
from shared.core.json import Json
from shared.models.requests import ModelRequest, ModelSettings
from shared.models.responses import Responses
from tests.fixtures.model_settings import EVERY_SETTING, LOOK, OUTPUT_SCHEMA
from tests.fixtures.responses import reasoning_item

ORIGIN = {"api": "responses", "base_url": "https://example.com/v1"}
SPENT = Usage(7, 3, 4, 2, "fake-1")


def _message(key: str, role: str, content: Any, **more: Any) -> Item:
    return Item(key, "message", {"role": role, "content": content, **more})


def _call(key: str, message_id: str = "m", **more: Any) -> Item:
    data = {"name": "look", "arguments": "{}", "message_id": message_id, "executor": "client"}
    return Item(key, "tool_call", {**data, **more})


def _result(call_id: str, content: Any = "done") -> Item:
    return Item(f"r-{call_id}", "tool_result", {"call_id": call_id, "content": content})


def _body(*items: Item, context: Any = (), tools: Any = (), **settings: Any) -> Json:
    """The body of a request, which OpenAI's own types accept."""
    request = ModelRequest(
        items=items,
        instructions="be good",
        context=context,
        tools=tools,
        settings=ModelSettings(**settings),
    )
    body = Responses("https://example.com/v1").body(request, "fake-1")
    _accept(body)
    return body


def _accept(body: Json) -> None:
    """Check a body against OpenAI's types strictly: a member that the types lack fails."""
    params = response_create_params.ResponseCreateParamsStreaming
    TypeAdapter(params).validate_python({**body, "input": []})
    assert body.keys() <= params.__annotations__.keys()
    for item in body["input"]:
        if item.get("role") == "assistant":
            # OpenAI's type of a model's message requires an id, which only stored messages need.
            whole = {**item, "id": "msg_1", "status": "completed"}
            whole["content"] = [{**part, "annotations": []} for part in item["content"]]
            TypeAdapter(ResponseOutputMessageParam).validate_python(whole)
            continue
        TypeAdapter(ResponseInputItemParam).validate_python(item)


def _user(text: str) -> Json:
    content = [{"type": "input_text", "text": text}]
    return {"type": "message", "role": "user", "content": content}


def _assistant(text: str, **more: str) -> Json:
    content = [{"type": "output_text", "text": text}]
    return {"type": "message", "role": "assistant", "content": content, **more}


def test_a_plain_request_has_nothing_that_was_not_set() -> None:
    assert _body(_message("u", "user", "hi")) == {
        "model": "fake-1",
        "instructions": "be good",
        "input": [_user("hi")],
        "stream": True,
        "store": False,
        "include": ["reasoning.encrypted_content"],
    }


def test_calls_and_results_are_items_of_their_own() -> None:
    items = [
        _message("u", "user", "hi"),
        _message("m", "assistant", "wait"),
        _call("c1", provider_id="call_0", provider=ORIGIN),
        _call("c2"),
        _result("c1"),
        _message("n", "assistant", "done"),
        _message("v", "user", "well?"),
    ]
    sent = _body(*items)["input"]
    called = {"type": "function_call", "name": "look", "arguments": "{}"}

    missing = sent.pop(5)
    assert (missing["call_id"], missing["output"][:9]) == (sent[3]["call_id"], "No result")
    assert sent == [
        _user("hi"),
        _assistant("wait"),
        {**called, "call_id": "call_0"},
        {**called, "call_id": sent[3]["call_id"]},
        {"type": "function_call_output", "call_id": "call_0", "output": "done"},
        _assistant("done"),
        _user("well?"),
    ]


def _provider(*items: Json, **origin: str) -> Json:
    return {**ORIGIN, **origin, "items": list(items)}


def test_reasoning_is_sent_back_unchanged_and_in_its_place() -> None:
    first, second = reasoning_item("gA==", "Look."), reasoning_item("gB==", id="rs_2")
    phase = {"type": "message", "phase": "commentary"}
    items = [
        _message("u", "user", "hi"),
        Item("t", "reasoning", {"text": "Look.", "message_id": "m"}),
        _message("m", "assistant", "wait", provider=_provider(first, phase)),
        _call("c1", provider_id="call_0", provider=_provider(second)),
        _result("c1"),
        _message("n", "assistant", "done"),
        _message("v", "user", "more"),
    ]
    sent = _body(*items)["input"]

    assert sent[1:4] == [first, _assistant("wait", phase="commentary"), second]
    assert sent[4]["call_id"] == "call_0"
    assert [item["type"] for item in sent[5:]] == ["function_call_output", "message", "message"]


@pytest.mark.parametrize(
    "origin",
    [
        {"api": "chat_completions"},
        {"base_url": "https://elsewhere.example.com/v1"},
    ],
)
def test_reasoning_is_sent_only_to_the_api_and_address_it_came_from(origin: dict[str, str]) -> None:
    provider = _provider(reasoning_item("canary"), **origin)
    spoken = _message("m", "assistant", "hi", provider=provider)

    assert _body(_message("u", "user", "hi"), spoken)["input"][1] == _assistant("hi")


def test_openais_own_address_is_an_origin_too() -> None:
    provider = {"api": "responses", "items": [reasoning_item("gA==")]}
    items = [
        _message("u", "user", "hi"),
        _message("m", "assistant", "hi", provider=provider),
        _message("v", "user", "more"),
    ]
    request = ModelRequest(items=items, instructions="")

    assert len(Responses("").body(request, "fake-1")["input"]) == 4
    assert len(Responses("https://example.com/v1").body(request, "fake-1")["input"]) == 3


def test_the_apps_context_ends_the_last_message_of_the_user() -> None:
    context = [{"description": "page", "value": "/home"}]
    sent = _body(_message("u", "user", "hi"), context=context)["input"]

    assert sent == [_user("hi\n\nThe app gives this context:\npage: /home")]


def test_images_are_shown_and_other_parts_named() -> None:
    data = {"type": "data", "value": "AAAA", "mimeType": "image/png"}
    parts = [
        {"type": "text", "text": "see"},
        {"type": "image", "source": {"type": "url", "value": "https://example.com/a.png"}},
        {"type": "image", "source": data},
        {"type": "audio"},
    ]
    (sent,) = _body(_message("u", "user", parts))["input"]
    assert sent["content"] == [
        {"type": "input_text", "text": "see"},
        {"type": "input_image", "image_url": "https://example.com/a.png", "detail": "auto"},
        {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "auto"},
        {"type": "input_text", "text": "[a audio that cannot be shown here]"},
    ]


def test_each_setting_has_its_member() -> None:
    body = _body(
        _message("u", "user", "hi"),
        tools=[LOOK],
        **EVERY_SETTING,
        extra_body={"service_tier": "flex", "top_p": 0.6},
    )
    for member in ("model", "input", "instructions", "stream", "store", "include"):
        del body[member]
    output = {"type": "json_schema", "name": "output", "schema": OUTPUT_SCHEMA, "strict": False}
    tool = {"type": "function", "name": "look", "description": "Looks."}
    assert body == {
        "tools": [{**tool, "parameters": LOOK.parameters, "strict": False}],
        "tool_choice": {"type": "function", "name": "look"},
        "parallel_tool_calls": False,
        "temperature": 0.0,
        "top_p": 0.6,
        "reasoning": {"effort": "low", "summary": "auto"},
        "text": {"verbosity": "high", "format": output},
        "max_output_tokens": 9,
        "service_tier": "flex",
    }


def test_a_choice_of_tools_is_not_sent_without_tools() -> None:
    body = _body(_message("u", "user", "hi"), tool_choice="required", parallel_tool_calls=True)

    assert not {"tools", "tool_choice", "parallel_tool_calls"} & body.keys()
