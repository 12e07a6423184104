"""Streams as servers write them: whatever their shape and however they are split, the turn is the same."""

import json
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.json import Json
from tests.doubles import DONE, chunk
from tests.fixtures import responses
from tests.fixtures.responses import FunctionCall, Message, sse
from tests.fixtures.turns import Turn, read, turn

LOOK = ("look", {"at": "sky"})
WAIT = ("wait", {"for": 2})
NOTHING: tuple[str, Json] = ("wait", {})


def piece(arguments: Any, name: str | None = None, **more: Any) -> Json:
    return {**more, "function": {"arguments": arguments, **({"name": name} if name else {})}}


def pieces(*each: Json | list[Json]) -> bytes:
    """A stream with these pieces of calls, one chunk for each, or for each list."""
    lists = [one if isinstance(one, list) else [one] for one in each]
    sent = [chunk({"tool_calls": one}) for one in lists]
    return b"".join([*sent, chunk(finish="stop"), DONE])


def deltas(*each: Json, finish: str | None = "stop") -> bytes:
    return b"".join([*(chunk(delta) for delta in each), chunk(finish=finish), DONE])


A, B = '{"at": "sky"}', '{"for": 2}'
TWO = turn("", "", LOOK, WAIT)
CALLS: dict[str, tuple[bytes, Turn]] = {
    "parallel, without index and id": (pieces(piece(A, "look"), piece(B, "wait")), TWO),
    "parallel, without index and id, in one chunk": (
        pieces([piece(A, "look"), piece(B, "wait")]),
        TWO,
    ),
    "parallel, without index, in pieces": (
        pieces(
            piece("", "look", id="a"),
            piece(A[:4]),
            piece(A[4:]),
            piece("", "wait", id="b"),
            piece(B),
        ),
        TWO,
    ),
    "parallel, without index, by place": (
        pieces([piece("", "look"), piece("", "wait")], [piece(A), piece(B)]),
        TWO,
    ),
    "all of index 0": (
        pieces(piece(A, "look", index=0, id="a"), piece(B, "wait", index=0, id="b")),
        TWO,
    ),
    "all of index 0, in pieces": (
        pieces(
            piece("", "look", index=0, id="a"),
            piece(A, index=0),
            piece(B[:3], "wait", index=0, id="b"),
            piece(B[3:], index=0),
        ),
        TWO,
    ),
    "one name twice, with one id": (
        pieces(piece(A, "look", index=0, id="call_0"), piece(A, "look", index=0, id="call_0")),
        turn("", "", LOOK, LOOK),
    ),
    "without arguments, twice": (
        pieces(piece("", "wait", index=0, id="a"), piece("", "wait", index=0, id="b")),
        turn("", "", NOTHING, NOTHING),
    ),
    "another name after no arguments, without ids": (
        pieces(piece("", "wait", index=0), piece(A, "look", index=0)),
        turn("", "", NOTHING, LOOK),
    ),
    "a new id with each piece": (
        pieces(
            piece("", "look", index=0, id="a"),
            piece(A[:5], index=0, id="b"),
            piece(A[5:], index=0, id="c"),
        ),
        turn("", "", LOOK),
    ),
    "a new id and the name with each piece": (
        pieces(piece(A[:5], "look", index=0, id="b"), piece(A[5:], "look", index=0, id="c")),
        turn("", "", LOOK),
    ),
    "name and id with each piece": (
        pieces(
            piece(A[:5], "look", index=0, id="a"),
            piece(A[5:], "look", index=0, id="a"),
            piece("", "look", index=0, id="a"),
        ),
        turn("", "", LOOK),
    ),
    "alternating": (
        pieces(
            piece("", "look", index=0, id="a"),
            piece("", "wait", index=1, id="b"),
            piece(A[:5], index=0),
            piece(B[:5], index=1),
            piece(A[5:], index=0),
            piece(B[5:], index=1),
        ),
        TWO,
    ),
    "a late name": (
        pieces(piece(A[:5], index=0), piece(A[5:], "look", index=0)),
        turn("", "", LOOK),
    ),
    "an index that comes later": (
        pieces(piece("", "look", id="a"), piece(A, index=0)),
        turn("", "", LOOK),
    ),
    "arguments as an object": (
        pieces(piece({"at": "sky"}, "look", id="a"), piece({"for": 2}, "wait", id="b")),
        TWO,
    ),
    "empty object and null": (
        pieces(piece({}, "wait", id="a"), piece(None, "wait", id="b")),
        turn("", "", NOTHING, NOTHING),
    ),
    "the first form of the API": (
        deltas(
            {"function_call": {"name": "look", "arguments": A[:5]}},
            {"function_call": {"arguments": A[5:]}},
        ),
        turn("", "", LOOK),
    ),
    "a call that is no list": (deltas({"tool_calls": piece(A, "look")}), turn("", "", LOOK)),
}

HELLO = chunk({"content": "Grüße "}) + chunk({"content": "🌍"})
GREETED = turn("Grüße 🌍")
WHOLE_CHUNK = json.dumps({"choices": [{"delta": {"content": "Grüße 🌍"}, "finish_reason": "stop"}]})
ENDINGS: dict[str, tuple[bytes, Turn]] = {
    "done without a finish reason": (HELLO + DONE, GREETED),
    "done after calls without a finish reason": (
        chunk({"tool_calls": [piece(A, "look", index=0)]}) + DONE,
        turn("", "", LOOK),
    ),
    "a finish reason and no done": (HELLO + chunk(finish="stop"), GREETED),
    "no line end": ((HELLO + chunk(finish="stop")).rstrip(b"\n"), GREETED),
    "a finish reason of null": (
        chunk({"content": "Grüße "}, finish="null") + chunk({"content": "🌍"}, finish="stop"),
        GREETED,
    ),
    "in upper case": (HELLO + chunk(finish="MAX_TOKENS"), turn("Grüße 🌍", reason="length")),
    "filtered": (HELLO + chunk(finish="safety"), turn("Grüße 🌍", reason="content_filter")),
    "refused": (
        deltas({"refusal": "I can"}, {"refusal": "not."}),
        turn("I cannot.", reason="refusal"),
    ),
    "refused in a role's delta": (
        deltas({"role": "assistant", "content": None, "refusal": "No."}),
        turn("No.", reason="refusal"),
    ),
}
WIRE: dict[str, tuple[bytes, Turn]] = {
    "comments": (
        b": hi\n\n:\n" + HELLO + b": OPENROUTER PROCESSING\n\n" + chunk(finish="stop"),
        GREETED,
    ),
    "ids and times": (b"id: 1\nretry: 10\n" + HELLO + b"id\n" + chunk(finish="stop"), GREETED),
    "empty data": (b"data:\n\ndata\n\ndata: \n\n" + HELLO + chunk(finish="stop"), GREETED),
    "a ping": (
        b"event: ping\ndata: pong\n\n" + HELLO + b"data: 1\nevent: time\n\n" + chunk(finish="stop"),
        GREETED,
    ),
    "data that is no object": (
        b'data: [1]\n\ndata: "x"\n\n' + HELLO + chunk(finish="stop"),
        GREETED,
    ),
    "a named chunk": (
        b"event: chunk\n" + HELLO + b"event: chunk\n" + chunk(finish="stop"),
        GREETED,
    ),
    "several lines of data": (
        b"".join(
            b"data: %b\n" % line.encode() for line in WHOLE_CHUNK.replace(", ", ",\n").split("\n")
        )
        + b"\n",
        GREETED,
    ),
    "data without a space": ((HELLO + chunk(finish="stop")).replace(b"data: ", b"data:"), GREETED),
    "no empty lines": ((HELLO + chunk(finish="stop")).replace(b"\n\n", b"\n"), GREETED),
    "usage of another shape": (HELLO + b'data: {"usage": [1]}\n\n' + chunk(finish="stop"), GREETED),
}
_DETAILS = [
    {"type": "reasoning.summary", "summary": "h"},
    {"type": "reasoning.text", "text": "m"},
    {"type": "reasoning.encrypted", "data": "gAAA"},
]
REASONING: dict[str, tuple[bytes, Turn]] = {
    f"{name}, {type(value).__name__}": (deltas({name: value}, {"content": "a"}), turn("a", seen))
    for name in ("reasoning", "reasoning_content", "reasoning_details")
    for value, seen in (
        ("hm", "hm"),
        (["h", {"text": "m"}], "hm"),
        (_DETAILS, "hm"),
        ({"content": [{"text": "hm"}]}, "hm"),
        ({"effort": 3}, ""),
        (7, ""),
    )
} | {
    "in two spellings at once": (
        deltas({"content": "", "reasoning": "hm", "reasoning_details": _DETAILS}, {"content": "a"}),
        turn("a", "hm"),
    )
}
SHAPES = CALLS | ENDINGS | WIRE | REASONING


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_is_the_turn_that_it_means(shape: str) -> None:
    sent, expected = SHAPES[shape]
    assert read([sent]) == expected


def split(whole: bytes, cuts: Sequence[int]) -> list[bytes]:
    return [whole[start:end] for start, end in pairwise([0, *sorted(cuts), len(whole)])]


@given(
    st.sampled_from(sorted(SHAPES)),
    st.sampled_from([b"\n", b"\r", b"\r\n"]),
    st.booleans(),
    st.data(),
)
def test_any_split_of_any_shape_with_any_line_ends_is_the_same_turn(
    shape: str, end: bytes, has_mark: bool, data: st.DataObject
) -> None:
    sent, expected = SHAPES[shape]
    whole = b"\xef\xbb\xbf" * has_mark + sent.replace(b"\n", end)
    cuts = data.draw(st.lists(st.integers(0, len(whole)), max_size=8))

    assert read(split(whole, cuts)) == expected


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_a_byte_at_a_time_is_the_same_turn(end: bytes) -> None:
    whole = b"\xef\xbb\xbf" + WIRE["several lines of data"][0].replace(b"\n", end)
    assert read([bytes([byte]) for byte in whole]) == GREETED


MESSAGE = {"role": "assistant", "content": "Grüße 🌍", "reasoning": "hm", "refusal": None}
COMPLETION = {
    "object": "chat.completion",
    "choices": [
        {
            "index": 0,
            "message": {
                **MESSAGE,
                "tool_calls": [piece(A, "look", id="a"), piece(B, "wait", id="b")],
            },
            "finish_reason": "tool_calls",
        }
    ],
    "usage": {"prompt_tokens": 7, "completion_tokens": 3},
}
WHOLE = responses.response(
    status="completed",
    output=[
        responses.reasoning_item("gAAA", "hm"),
        Message(("Grüße 🌍",)).item(ended=True),
        FunctionCall("a", "look", (A,)).item(ended=True),
        FunctionCall("b", "wait", (B,)).item(ended=True),
    ],
    usage=responses.USAGE,
)


@pytest.mark.parametrize("is_chat", [True, False])
@given(cuts=st.lists(st.integers(0, 400), max_size=4))
def test_json_instead_of_a_stream_is_one_turn(is_chat: bool, cuts: list[int]) -> None:
    whole = json.dumps(COMPLETION if is_chat else WHOLE, indent=1).encode()
    reads = split(whole, [min(cut, len(whole)) for cut in cuts])

    seen = read(reads, is_chat=is_chat, kind="application/json; charset=utf-8")

    assert seen == turn("Grüße 🌍", "hm", LOOK, WAIT)


def test_a_stream_that_is_labelled_as_json_is_a_stream() -> None:
    assert read([HELLO, chunk(finish="stop")], kind="application/json") == GREETED


RESPONSES: dict[str, tuple[bytes, Turn]] = {
    "arguments as an object": (
        sse(
            {
                "type": "response.output_item.done",
                "output_index": 0,
                "item": {
                    "type": "function_call",
                    "call_id": "a",
                    "name": "look",
                    "arguments": {"at": "sky"},
                },
            }
        )
        + sse({"type": "response.completed", "response": {}}),
        turn("", "", LOOK),
    ),
    "done without an ending": (
        sse({"type": "response.output_text.delta", "output_index": 0, "delta": "a"}) + DONE,
        turn("a"),
    ),
    "no index": (
        b"".join(
            sse({"type": f"response.{kind}", "item_id": id_, **more})
            for kind, id_, more in (
                (
                    "output_item.added",
                    "x",
                    {"item": {"id": "x", "type": "function_call", "name": "look"}},
                ),
                (
                    "output_item.added",
                    "y",
                    {"item": {"id": "y", "type": "function_call", "name": "wait"}},
                ),
                ("function_call_arguments.delta", "y", {"delta": B}),
                ("function_call_arguments.delta", "x", {"delta": A}),
            )
        )
        + DONE,
        TWO,
    ),
    "all of it at the end": (
        sse({"type": "response.completed", "response": WHOLE}),
        turn("Grüße 🌍", "hm", LOOK, WAIT),
    ),
    "a ping": (
        b"event: ping\ndata: pong\n\ndata:\n\n" + b"".join(responses.stream(Message(("a",)))),
        turn("a"),
    ),
}


@given(st.sampled_from(sorted(RESPONSES)), st.sampled_from([b"\n", b"\r", b"\r\n"]), st.data())
def test_shapes_of_the_responses_api_are_the_same_turn_in_any_split(
    shape: str, end: bytes, data: st.DataObject
) -> None:
    sent, expected = RESPONSES[shape]
    whole = sent.replace(b"\n", end)
    cuts = data.draw(st.lists(st.integers(0, len(whole)), max_size=8))

    assert read(split(whole, cuts), is_chat=False) == expected
