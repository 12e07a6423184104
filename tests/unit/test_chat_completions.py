"""Chat Completions: the requests that are sent, and responses of any JSON in any split of reads."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import completion_create_params
from pydantic import TypeAdapter

from shared.core.items import Item, Usage
from shared.core.json import Json
from shared.models.chat_completions import ChatCompletions
from shared.models.events import (
    ModelEvent,
    ModelFailed,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    TurnEnded,
)
from shared.models.requests import ModelRequest, ModelSettings
from shared.models.responses import Responses
from tests.fixtures.model_settings import EVERY_SETTING, LOOK, OUTPUT_SCHEMA

_KEYS = st.sampled_from(
    [
        *("choices", "delta", "content", "tool_calls", "function", "index", "id", "name"),
        *("arguments", "usage", "prompt_tokens", "prompt_tokens_details", "cached_tokens"),
        *("model", "finish_reason", "error", "reasoning", "reasoning_content", "type", "text"),
    ]
)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=4),
    max_leaves=12,
)


def _line(data: object) -> bytes:
    return b"data: " + json.dumps(data).encode() + b"\n\n"


def _delta(**delta: object) -> bytes:
    return _line({"choices": [{"delta": delta}]})


def _ends(reason: str) -> bytes:
    return _line({"choices": [{"delta": {}, "finish_reason": reason}]})


_STOP = _ends("stop")


def _read(*reads: bytes) -> list[ModelEvent]:
    reader = ChatCompletions().reader()
    return [event for data in reads for event in reader.feed(data)] + reader.finish()


@given(st.lists(st.dictionaries(_KEYS, _VALUES, max_size=4), max_size=4))
def test_any_stream_is_an_answer_or_a_model_failure(sent: list[Json]) -> None:
    try:
        *events, ended = _read(*map(_line, sent), _STOP)
    except ModelFailed:
        return
    assert isinstance(ended, TurnEnded)
    for event in events:
        assert isinstance(event, TextDelta | ReasoningDelta | ToolCallDelta)
        text = event.arguments if isinstance(event, ToolCallDelta) else event.text
        assert isinstance(text, str)


@given(st.data())
def test_the_split_into_reads_does_not_change_the_events(data: st.DataObject) -> None:
    whole = _delta(content="Grüße, ") + _delta(content="🌍") + _STOP + b"data: [DONE]\n\n"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=6)))
    edges = [0, *cuts, len(whole)]
    reads = [whole[start:end] for start, end in pairwise(edges)]

    assert _read(*reads) == _read(whole)


@pytest.mark.parametrize(
    "odd",
    [
        _line({"choices": [None]}),
        _line({"choices": 7}),
        _delta(content={"type": "text"}),
        _delta(content=7),
        _delta(tool_calls=[7]),
        b'data: {"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}\n\n",
        _delta(tool_calls=[{"index": [0], "id": "a"}]),
        b"data: {\n\n",
    ],
)
def test_json_of_another_shape_is_garbage(odd: bytes) -> None:
    with pytest.raises(ModelFailed) as failed:
        _read(_delta(content="a"), odd, _STOP)

    assert (failed.value.code, failed.value.retryable) == ("model_broke_off", True)


def test_text_may_come_as_a_list_of_parts() -> None:
    thoughts = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}
    events = _read(_delta(content=[thoughts, {"type": "text", "text": "Hello"}]), _STOP)

    assert events[0] == TextDelta("Hello")


@pytest.mark.parametrize("member", ["reasoning", "reasoning_content"])
def test_reasoning_has_two_spellings(member: str) -> None:
    assert _read(_delta(**{member: "hm"}), _STOP)[0] == ReasoningDelta("hm")


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("content_filter", "content_filter"),
        ("tool_calls", "tool_calls"),
        ("function_call", "tool_calls"),
        ("eos_token", "stop"),
    ],
)
def test_a_finish_reason_is_one_of_four(reason: str, expected: str) -> None:
    assert _read(_ends(reason)) == [TurnEnded(expected, Usage())]  # type: ignore[arg-type]


def test_a_reported_error_fails_after_what_came_before_it() -> None:
    reader = ChatCompletions().reader()
    error = _line({"error": {"message": "canary", "code": 500}})

    assert reader.feed(_delta(content="a") + error + _delta(content="b")) == [TextDelta("a")]
    with pytest.raises(ModelFailed) as failed:
        reader.finish()
    assert (failed.value.code, failed.value.retryable) == ("model_failed", True)
    assert "canary" not in failed.value.message


@pytest.mark.parametrize("sent", [_delta(content="a"), b"data: [DONE]\n\n"])
def test_a_stream_without_a_finish_reason_or_without_anything_broke_off(sent: bytes) -> None:
    with pytest.raises(ModelFailed) as failed:
        _read(sent)

    assert (failed.value.code, failed.value.retryable) == ("model_broke_off", True)


@pytest.mark.parametrize(("prompt", "completion"), [("12", -3), (True, 1.5), (2**63, 10**30)])
def test_an_invalid_token_count_is_not_counted(prompt: object, completion: object) -> None:
    usage = {"prompt_tokens": prompt, "completion_tokens": completion}
    ended = _read(_line({"usage": usage}), _STOP)[-1]

    assert isinstance(ended, TurnEnded)
    assert (ended.usage.input_tokens, ended.usage.output_tokens) == (None, None)


def _message(key: str, role: str, content: Any) -> Item:
    return Item(key, "message", {"role": role, "content": content})


def _call(key: str, message_id: str = "m", **more: Any) -> Item:
    data = {"name": "look", "arguments": "{}", "message_id": message_id, "executor": "client"}
    return Item(key, "tool_call", {**data, **more})


def _result(call_id: str, content: Any = "done") -> Item:
    return Item(f"r-{call_id}", "tool_result", {"call_id": call_id, "content": content})


def _request(*items: Item, context: Any = (), tools: Any = (), **settings: Any) -> ModelRequest:
    return ModelRequest(
        items=items,
        instructions="be good",
        context=context,
        tools=tools,
        settings=ModelSettings(**settings),
    )


def _body(*items: Item, **more: Any) -> Json:
    """The body of a request, which OpenAI's own types accept."""
    body = ChatCompletions().body(_request(*items, **more), "fake-1")
    TypeAdapter(completion_create_params.CompletionCreateParamsStreaming).validate_python(body)
    return body


def test_a_plain_request_has_nothing_that_was_not_set() -> None:
    assert _body(_message("u", "user", "hi")) == {
        "model": "fake-1",
        "messages": [
            {"role": "system", "content": "be good"},
            {"role": "user", "content": "hi"},
        ],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_a_blank_instruction_is_no_message() -> None:
    request = ModelRequest(items=[_message("u", "user", "hi")], instructions=" \n")

    assert ChatCompletions().body(request, "fake-1")["messages"] == [
        {"role": "user", "content": "hi"}
    ]


def test_calls_join_the_message_of_their_turn() -> None:
    question, spoken = _message("u", "user", "hi"), _message("m", "assistant", "wait")
    own = _call("c1", provider_id="call_0", provider={"api": "chat_completions"})
    items = [question, spoken, own, _call("c2"), _result("c2", "second"), _result("c1", "first")]
    message, *results = _body(*items)["messages"][2:]

    assert message["content"] == "wait"
    ids = [made["id"] for made in message["tool_calls"]]
    assert ids[0] == "call_0"
    assert [each["tool_call_id"] for each in results] == ids
    assert [each["content"] for each in results] == ["first", "second"]


def test_calls_without_a_text_are_a_message_of_their_own() -> None:
    items = [_message("u", "user", "hi"), _call("c1"), _call("c2"), _message("v", "user", "well?")]
    messages = _body(*items)["messages"]

    roles = ["user", "assistant", "tool", "tool", "assistant", "user"]
    assert [m["role"] for m in messages[1:]] == roles
    assert (messages[2]["content"], len(messages[2]["tool_calls"])) == (None, 2)
    assert messages[3]["content"].startswith("No result")


def test_several_turns_keep_their_order() -> None:
    items = [
        _message("u", "user", "hi"),
        _call("c1", "m1"),
        _result("c1"),
        _call("c2", "m2"),
        _result("c2", [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]),
        _message("m3", "assistant", "done"),
        _message("v", "user", "more"),
    ]
    messages = _body(*items)["messages"][1:]

    roles = ["user", "assistant", "tool", "assistant", "tool", "assistant", "user"]
    assert [m["role"] for m in messages] == roles
    assert messages[4]["content"] == "a\nb"


def test_the_apps_context_ends_the_last_message_of_the_user() -> None:
    context = [{"description": "page", "value": "/home"}]
    messages = _body(_message("u", "user", "hi"), context=context)["messages"]

    assert messages[1]["content"] == "hi\n\nThe app gives this context:\npage: /home"


def test_images_are_shown_and_other_parts_named() -> None:
    data = {"type": "data", "value": "AAAA", "mimeType": "image/png"}
    parts = [
        {"type": "text", "text": "see"},
        {"type": "image", "source": {"type": "url", "value": "https://example.com/a.png"}},
        {"type": "image", "source": data},
        {"type": "image", "source": {"type": "file", "value": "f"}},
        {"type": "audio"},
    ]
    assert _body(_message("u", "user", parts))["messages"][1]["content"] == [
        {"type": "text", "text": "see"},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        {
            "type": "text",
            "text": "[a image that cannot be shown here]\n\n[a audio that cannot be shown here]",
        },
    ]


def test_texts_without_an_image_are_sent_as_one_text() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]

    assert _body(_message("u", "user", parts))["messages"][1]["content"] == "a\n\nb"


@pytest.mark.parametrize(
    ("base_url", "is_sent"),
    [
        ("", True),
        ("https://api.openai.com/v1", True),
        ("https://eu.api.openai.com/v1", True),
        ("https://api.openai.com.example.com/v1", False),
        ("http://127.0.0.1:8000/v1", False),
        ("https://api.mistral.ai/v1", False),
    ],
)
def test_only_openai_gets_the_key_of_its_cache(base_url: str, is_sent: bool) -> None:
    request = ModelRequest(items=[], instructions="", cache_key="key-of-thread")

    for api in (ChatCompletions(base_url), Responses(base_url)):
        body = api.body(request, "fake-1")
        assert body.get("prompt_cache_key") == ("key-of-thread" if is_sent else None)


def test_each_setting_has_its_member() -> None:
    body = _body(
        _message("u", "user", "hi"),
        tools=[LOOK],
        **EVERY_SETTING,
        extra_body={"seed": 3, "top_p": 0.6},
    )
    named = {"name": "look", "description": "Looks.", "parameters": LOOK.parameters}
    output = {"name": "output", "schema": OUTPUT_SCHEMA, "strict": False}
    for member in ("model", "messages", "stream", "stream_options"):
        del body[member]
    assert body == {
        "tools": [{"type": "function", "function": named}],
        "tool_choice": {"type": "function", "function": {"name": "look"}},
        "parallel_tool_calls": False,
        "temperature": 0.0,
        "top_p": 0.6,
        "reasoning_effort": "low",
        "verbosity": "high",
        "max_completion_tokens": 9,
        "response_format": {"type": "json_schema", "json_schema": output},
        "seed": 3,
    }


def test_a_choice_of_tools_is_not_sent_without_tools() -> None:
    body = _body(_message("u", "user", "hi"), tool_choice="required", parallel_tool_calls=True)

    assert not {"tools", "tool_choice", "parallel_tool_calls"} & body.keys()


def test_provider_data_of_another_api_is_not_sent() -> None:
    provider = {"api": "responses", "items": [{"type": "reasoning", "encrypted_content": "canary"}]}
    spoken = Item("m", "message", {"role": "assistant", "content": "hi", "provider": provider})
    made = Item("c1", "tool_call", {**_call("c1").data, "provider": provider})

    assert "canary" not in json.dumps(_body(spoken, made))
