"""The Responses API: the requests that are sent, and responses of any JSON in any split of reads."""

import json
from itertools import pairwise
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import ResponseInputItemParam, response_create_params
from openai.types.responses.response_output_message_param import ResponseOutputMessageParam
from pydantic import TypeAdapter

from shared.core.items import Item, Usage
from shared.core.json import Json
from shared.models.events import (
    ModelEvent,
    ModelFailed,
    ProviderData,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    TurnEnded,
)
from shared.models.history import fit_history
from shared.models.requests import ModelRequest, ModelSettings, NamedTool, ToolSpecification
from shared.models.responses import Responses
from shared.models.responses.reader import _HANDLERS, ResponsesReader
from tests.fixtures.responses import FunctionCall, Message, Reasoning, response, sse, stream

ORIGIN = {"api": "responses", "base_url": "https://example.com/v1"}
SPENT = Usage(7, 3, 4, 2, "fake-1")
LOOK = ToolSpecification("look", "Looks.", {"type": "object", "properties": {}})


def _read(*reads: bytes) -> list[ModelEvent]:
    reader = ResponsesReader(ORIGIN)
    return [event for data in reads for event in reader.feed(data)] + reader.finish()


def _reasoning(encrypted: str, *summary: str, id: str = "rs_1") -> Json:
    texts = [{"type": "summary_text", "text": text} for text in summary]
    return {"type": "reasoning", "id": id, "summary": texts, "encrypted_content": encrypted}


def test_a_turn_of_reasoning_and_calls() -> None:
    look = FunctionCall("call_a", "look", ('{"at":', ' "sky"}'))
    events = _read(
        *stream(Reasoning("gAAA==", ("One", "Two")), look, FunctionCall("call_b", "wait"))
    )

    assert events == [
        ReasoningDelta("One"),
        ReasoningDelta("\n\n"),
        ReasoningDelta("Two"),
        ProviderData(ORIGIN, _reasoning("gAAA==", "One", "Two")),
        ToolCallDelta(1, "call_a", "look", ""),
        ToolCallDelta(1, None, None, '{"at":'),
        ToolCallDelta(1, None, None, ' "sky"}'),
        ToolCallDelta(2, "call_b", "wait", ""),
        ToolCallDelta(2, None, None, "{}"),
        TurnEnded("tool_calls", SPENT),
    ]


def test_a_turn_of_text() -> None:
    assert _read(*stream(Message(("Hel", "lo"), phase="final_answer"))) == [
        TextDelta("Hel"),
        TextDelta("lo"),
        ProviderData(ORIGIN, {"type": "message", "phase": "final_answer"}, "message"),
        TurnEnded("stop", SPENT),
    ]


def test_a_refusal_is_text() -> None:
    assert _read(*stream(Message(("No.",), kind="refusal")))[0] == TextDelta("No.")


def test_two_messages_of_a_turn_are_paragraphs() -> None:
    events = _read(*stream(Message(("Let me see.",)), Message(("It is ", "42."), id="msg_2")))

    text = "".join(event.text for event in events if isinstance(event, TextDelta))
    assert text == "Let me see.\n\nIt is 42."


@pytest.mark.parametrize("name", ["response.reasoning_text.delta", "response.reasoning.delta"])
def test_raw_reasoning_is_reasoning(name: str) -> None:
    event = sse({"type": name, "output_index": 0, "content_index": 0, "delta": "hm"})

    assert _read(event, *stream())[0] == ReasoningDelta("hm")


def test_the_encrypted_reasoning_of_an_item_in_progress_is_not_kept() -> None:
    # The content in `output_item.added` may be incomplete; that of `Reasoning` is.
    kept = [e for e in _read(*stream(Reasoning("gAAA=="))) if isinstance(e, ProviderData)]

    assert [each.item["encrypted_content"] for each in kept] == ["gAAA=="]


def test_reasoning_without_encrypted_content_cannot_be_sent_back() -> None:
    assert _read(*stream(Reasoning("")))[:-1] == []


def test_arguments_may_come_only_at_the_end_of_their_call() -> None:
    item = {"type": "function_call", "call_id": "a", "name": "f", "arguments": '{"n": 1}'}
    done = sse({"type": "response.output_item.done", "output_index": 3, "item": item})

    assert _read(done, *stream())[:-1] == [
        ToolCallDelta(3, "a", "f", ""),
        ToolCallDelta(3, None, None, '{"n": 1}'),
    ]


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("max_output_tokens", "length"),
        ("content_filter", "content_filter"),
        ("max_messages", "length"),
        (None, "length"),
    ],
)
def test_an_incomplete_response_says_why(reason: str | None, expected: str) -> None:
    ended = _read(*stream(Message(("a",)), status="incomplete", reason=reason))[-1]

    assert ended == TurnEnded(expected, SPENT)  # type: ignore[arg-type]


_OPENAIS = {"type": "error", "code": "server_error", "message": "canary", "param": None}
_OPEN = {"type": "error", "error": {"type": "server_error", "code": None, "message": "canary"}}
_FAILED = {"code": "rate_limit_exceeded", "message": "canary"}


@pytest.mark.parametrize(
    "sent",
    [
        sse({**_OPENAIS, "sequence_number": 3}),
        sse({**_OPEN, "sequence_number": 3}),
        stream(status="failed", error=_FAILED)[-1],
        b'data: {"error": {"message": "canary"}}\n\n',
    ],
)
def test_a_reported_error_fails_after_what_came_before_it(sent: bytes) -> None:
    reader = ResponsesReader(ORIGIN)
    *before, _ = stream(Message(("a",)))

    assert reader.feed(b"".join(before) + sent + b"".join(stream())) == [TextDelta("a")]
    assert reader.is_over
    with pytest.raises(ModelFailed) as failed:
        reader.finish()
    assert (failed.value.code, failed.value.retryable) == ("model_failed", True)
    assert "canary" not in failed.value.message


@pytest.mark.parametrize("end", [b"", b"data: [DONE]\n\n"])
def test_a_stream_without_an_ending_broke_off(end: bytes) -> None:
    *before, _ = stream(Message(("a",)))
    with pytest.raises(ModelFailed) as failed:
        _read(*before, end)

    assert (failed.value.code, failed.value.retryable) == ("model_broke_off", True)


def test_nothing_is_read_after_the_ending() -> None:
    assert _read(*stream(), *stream(Message(("a",)))) == [TurnEnded("stop", SPENT)]


def test_event_lines_comments_and_unknown_events_make_no_difference() -> None:
    whole = stream(Reasoning("gAAA=="), Message(("a",)))
    named = [line for event in whole for line in event.split(b"\n") if not line.startswith(b"e")]
    new = sse({"type": "response.hologram.delta", "delta": "?", "output_index": 0})
    plain = b"\r\n".join([b": ping", *named[:3], new, *named[3:]])

    assert _read(plain) == _read(*whole)


@given(st.data())
def test_the_split_into_reads_does_not_change_the_events(data: st.DataObject) -> None:
    call = FunctionCall("call_a", "look", ('{"at": "Köln"}',))
    whole = b"".join(stream(Reasoning("gAAA=="), Message(("Grüße, ", "🌍")), call))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=6)))
    edges = [0, *cuts, len(whole)]
    reads = [whole[start:end] for start, end in pairwise(edges)]

    assert _read(*reads) == _read(whole)


_KEYS = st.sampled_from(
    [
        *("type", "item", "response", "delta", "output_index", "call_id", "name", "arguments"),
        *("encrypted_content", "id", "summary", "phase", "usage", "input_tokens", "model", "error"),
        *("input_tokens_details", "cached_tokens", "incomplete_details", "reason"),
    ]
)
_WORDS = st.sampled_from(["function_call", "reasoning", "message", "content_filter", ""])
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | _WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=5),
    max_leaves=12,
)
_EVENTS = st.builds(
    lambda body, type_: {**body, "type": type_},
    st.dictionaries(_KEYS, _VALUES, max_size=5),
    st.sampled_from(sorted(_HANDLERS)) | _WORDS | st.none(),
)


@given(st.lists(_EVENTS, max_size=5))
def test_any_stream_is_an_answer_or_a_model_failure(sent: list[Json]) -> None:
    lines = [b"data: " + json.dumps(body).encode() + b"\n\n" for body in sent]
    try:
        *events, ended = _read(*lines, *stream())
    except ModelFailed:
        return
    assert isinstance(ended, TurnEnded)
    for event in events:
        match event:
            case TextDelta(text) | ReasoningDelta(text) | ToolCallDelta(_, _, _, text):
                assert isinstance(text, str)
            case ProviderData():
                assert isinstance(event.item, dict)
            case _:
                raise AssertionError(event)


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
        items=fit_history(items, "be good", context, 10_000),
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
        _call("c1", provider_id="call_0"),
        _call("c2"),
        _result("c1"),
        _message("v", "user", "well?"),
    ]
    sent = _body(*items)["input"]
    called = {"type": "function_call", "name": "look", "arguments": "{}"}

    missing = sent.pop(5)
    assert (missing["call_id"], missing["output"][:9]) == ("c2", "No result")
    assert sent == [
        _user("hi"),
        _assistant("wait"),
        {**called, "call_id": "call_0"},
        {**called, "call_id": "c2"},
        {"type": "function_call_output", "call_id": "call_0", "output": "done"},
        _user("well?"),
    ]


def _provider(*items: Json, **origin: str) -> Json:
    return {**ORIGIN, **origin, "items": list(items)}


def test_reasoning_is_sent_back_unchanged_and_in_its_place() -> None:
    first, second = _reasoning("gA==", "Look."), _reasoning("gB==", id="rs_2")
    phase = {"type": "message", "phase": "commentary"}
    items = [
        _message("u", "user", "hi"),
        Item("t", "reasoning", {"text": "Look.", "message_id": "m"}),
        _message("m", "assistant", "wait", provider=_provider(first, phase)),
        _call("c1", provider_id="call_0", provider=_provider(second)),
        _result("c1"),
        _message("n", "assistant", "done"),
    ]
    sent = _body(*items)["input"]

    assert sent[1:4] == [first, _assistant("wait", phase="commentary"), second]
    assert sent[4]["call_id"] == "call_0"
    assert [item["type"] for item in sent[5:]] == ["function_call_output", "message"]


@pytest.mark.parametrize(
    "origin",
    [
        {"api": "chat_completions"},
        {"base_url": "https://elsewhere.example.com/v1"},
    ],
)
def test_reasoning_is_sent_only_to_the_api_and_address_it_came_from(origin: dict[str, str]) -> None:
    provider = _provider(_reasoning("canary"), **origin)
    spoken = _message("m", "assistant", "hi", provider=provider)

    assert _body(spoken)["input"] == [_assistant("hi")]


def test_openais_own_address_is_an_origin_too() -> None:
    provider = {"api": "responses", "items": [_reasoning("gA==")]}
    items = [_message("m", "assistant", "hi", provider=provider)]
    request = ModelRequest(items=items, instructions="")

    assert len(Responses("").body(request, "fake-1")["input"]) == 2
    assert len(Responses("https://example.com/v1").body(request, "fake-1")["input"]) == 1


def test_the_apps_context_is_the_first_message_of_the_user() -> None:
    context = [{"description": "page", "value": "/home"}]
    sent = _body(_message("u", "user", "hi"), context=context)["input"]

    assert sent == [_user("The app gives this context:\npage: /home"), _user("hi")]


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
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    body = _body(
        _message("u", "user", "hi"),
        tools=[LOOK],
        temperature=0.0,
        top_p=0.5,
        reasoning_effort="low",
        verbosity="high",
        max_output_tokens=9,
        parallel_tool_calls=False,
        tool_choice=NamedTool("look"),
        output_schema=schema,
        extra_body={"service_tier": "flex", "top_p": 0.6},
    )
    for member in ("model", "input", "instructions", "stream", "store", "include"):
        del body[member]
    output = {"type": "json_schema", "name": "output", "schema": schema, "strict": False}
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


def test_the_streams_of_these_tests_have_only_event_types_of_openai() -> None:
    from openai.types.responses import ResponseStreamEvent

    union, _ = get_args(ResponseStreamEvent)
    known = {get_args(each.model_fields["type"].annotation)[0] for each in get_args(union)}
    sent = {json.loads(e.split(b"data: ")[1])["type"] for e in stream(Reasoning("g", ("a",)))}

    assert sent <= known
    assert response().keys() >= {"output", "usage", "error"}
