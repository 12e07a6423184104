"""The Responses API: responses of any JSON, in any split of reads."""

import json
from itertools import pairwise
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.items import Usage
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
from shared.models.responses.reader import _HANDLERS, ResponsesReader
from tests.fixtures.responses import (
    FunctionCall,
    Message,
    Reasoning,
    reasoning_item,
    response,
    sse,
    stream,
)

ORIGIN = {"api": "responses", "base_url": "https://example.com/v1"}
SPENT = Usage(7, 3, 4, 2, "fake-1")


def _read(*reads: bytes) -> list[ModelEvent]:
    reader = ResponsesReader(ORIGIN)
    return [event for data in reads for event in reader.feed(data)] + reader.finish()


def test_a_turn_of_reasoning_and_calls() -> None:
    look = FunctionCall("call_a", "look", ('{"at":', ' "sky"}'))
    events = _read(
        *stream(Reasoning("gAAA==", ("One", "Two")), look, FunctionCall("call_b", "wait"))
    )

    assert events == [
        ReasoningDelta("One"),
        ReasoningDelta("\n\n"),
        ReasoningDelta("Two"),
        ProviderData(ORIGIN, reasoning_item("gAAA==", "One", "Two")),
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
    events = _read(*stream(Message(("I can", "not."), kind="refusal")))

    assert events == [TextDelta("I can"), TextDelta("not."), TurnEnded("refusal", SPENT)]


def test_a_refusal_may_come_only_at_its_end() -> None:
    done = sse({"type": "response.refusal.done", "output_index": 0, "refusal": "No."})

    assert _read(done, *stream()) == [TextDelta("No."), TurnEnded("refusal", SPENT)]


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


@pytest.mark.parametrize("texts", [(), ("a",)])
def test_a_stream_without_an_ending_broke_off(texts: tuple[str, ...]) -> None:
    *before, _ = stream(Message(texts))
    with pytest.raises(ModelFailed) as failed:
        _read(*before)

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


def test_the_streams_of_these_tests_have_only_event_types_of_openai() -> None:
    from openai.types.responses import ResponseStreamEvent

    union, _ = get_args(ResponseStreamEvent)
    known = {get_args(each.model_fields["type"].annotation)[0] for each in get_args(union)}
    sent = {json.loads(e.split(b"data: ")[1])["type"] for e in stream(Reasoning("g", ("a",)))}

    assert sent <= known
    assert response().keys() >= {"output", "usage", "error"}
