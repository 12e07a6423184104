"""What a model's API may send: any JSON, in any reads."""

import asyncio
import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.json import Json
from shared.models.completions import CallPart, Finish, ModelFailed, Part, Reader, Text
from shared.models.openai import _Silence

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


_STOP = _line({"choices": [{"delta": {}, "finish_reason": "stop"}]})


def _read(*reads: bytes) -> list[Part]:
    reader = Reader()
    return [part for data in reads for part in reader.feed(data)] + reader.finish()


@given(st.lists(st.dictionaries(_KEYS, _VALUES, max_size=4), max_size=4))
def test_whatever_it_sends_is_an_answer_or_a_failed_model(sent: list[Json]) -> None:
    try:
        *parts, finish = _read(*map(_line, sent), _STOP)
    except ModelFailed:
        return
    assert isinstance(finish, Finish)
    for part in parts:
        assert isinstance(part, Text | CallPart)
        assert isinstance(part.text if isinstance(part, Text) else part.arguments, str)


@given(st.data())
def test_where_reads_end_makes_no_difference(data: st.DataObject) -> None:
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
        _delta(tool_calls=[{"function": {"arguments": {"city": "Oslo"}}}]),
        _line({"usage": [1]}),
    ],
)
def test_json_of_another_shape_is_garbage(odd: bytes) -> None:
    with pytest.raises(ModelFailed) as failed:
        _read(_delta(content="a"), odd, _STOP)

    assert (failed.value.code, failed.value.retryable) == ("model_broke_off", True)


def test_text_may_come_as_a_list_of_parts() -> None:
    thoughts = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}
    parts = _read(_delta(content=[thoughts, {"type": "text", "text": "Hello"}]), _STOP)

    assert parts[0] == Text("text", "Hello")


def test_a_count_that_is_none_is_not_counted() -> None:
    usage = {"prompt_tokens": "12", "completion_tokens": -3}
    finish = _read(_line({"usage": usage}), _STOP)[-1]

    assert isinstance(finish, Finish)
    assert (finish.usage.input_tokens, finish.usage.output_tokens) == (None, None)


async def test_a_chunk_that_comes_as_the_silence_ends_is_worked_on_in_peace() -> None:
    worked = False

    async def turn() -> None:
        nonlocal worked
        async with asyncio.timeout(60) as timer:
            with _Silence(timer, 0.0) as silence:
                silence.heard()
                await asyncio.sleep(0.1)
                worked = True
                silence.wait()
                await asyncio.sleep(60)

    with pytest.raises(TimeoutError):
        await turn()
    assert worked
