"""Both APIs give the same events for the same response of a model."""

import json
import subprocess
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.items import Item
from shared.core.json import Json
from shared.models.chat_completions import ChatCompletions
from shared.models.events import ModelEvent, ProviderData, ToolCallDelta, TurnEnded
from shared.models.requests import ModelRequest, ToolSpecification
from shared.models.responses import Responses
from shared.models.stream import StreamReader
from tests.doubles import DONE, chunk
from tests.fixtures import responses
from tests.fixtures.responses import FunctionCall, Message, Output, Reasoning

ROOT = Path(__file__).parents[2]
USAGE = {
    "prompt_tokens": 7,
    "completion_tokens": 3,
    "prompt_tokens_details": {"cached_tokens": 4},
    "completion_tokens_details": {"reasoning_tokens": 2},
}
TEXT = Message(("It is ", "42."))
REFUSAL = Message(("I can", "not."), kind="refusal")
THOUGHT = Reasoning("gAAA==", ("Hm.",))
CALLS = (FunctionCall("a", "look", ('{"at":', '"sky"}')), FunctionCall("b", "wait"))


def chat_stream(*output: Output, finish: str) -> list[bytes]:
    """The turn of `responses.stream`, over Chat Completions."""
    sent: list[bytes] = []
    calls = 0
    for each in output:
        match each:
            case Reasoning():
                sent += [chunk({"reasoning_content": text}) for text in each.summary]
            case Message():
                member = "refusal" if each.kind == "refusal" else "content"
                sent += [chunk({member: text}) for text in each.texts]
            case FunctionCall():
                sent += [chunk({"tool_calls": [call]}) for call in _pieces(calls, each)]
                calls += 1
    return [*sent, chunk(finish=finish), chunk(usage=USAGE), DONE]


def _pieces(index: int, call: FunctionCall) -> list[Json]:
    head: Json = {"id": call.call_id, "function": {"name": call.name, "arguments": ""}}
    rest: list[Json] = [{"function": {"arguments": piece}} for piece in call.arguments]
    return [{"index": index, **piece} for piece in (head, *rest)]


def read(reader: StreamReader, reads: Sequence[bytes]) -> list[ModelEvent]:
    """The events of a stream, without the parts that only its API has: opaque data, and the numbers of calls."""
    events = [event for data in reads for event in reader.feed(data)] + reader.finish()
    numbers: dict[int, int] = {}
    for event in events:
        if isinstance(event, ToolCallDelta):
            event.index = numbers.setdefault(event.index, len(numbers))
    return [event for event in events if not isinstance(event, ProviderData)]


@pytest.mark.parametrize(
    ("output", "finish", "status", "reason"),
    [
        ((TEXT,), "stop", "completed", None),
        ((THOUGHT, TEXT), "stop", "completed", None),
        (CALLS, "tool_calls", "completed", None),
        ((THOUGHT, TEXT, *CALLS), "tool_calls", "completed", None),
        ((REFUSAL,), "refusal", "completed", None),
        ((THOUGHT, REFUSAL), "refusal", "completed", None),
        ((REFUSAL,), "length", "incomplete", "max_output_tokens"),
        ((TEXT,), "length", "incomplete", "max_output_tokens"),
        ((TEXT,), "content_filter", "incomplete", "content_filter"),
    ],
)
def test_a_turn_gives_the_same_events_over_both_apis(
    output: Sequence[Output], finish: str, status: str, reason: str | None
) -> None:
    # Chat Completions has no word of its own for the end of a refusal.
    sent = chat_stream(*output, finish="stop" if finish == "refusal" else finish)
    chat = read(ChatCompletions().reader(), sent)
    theirs = responses.stream(*output, status=status, reason=reason)

    assert read(Responses("").reader(), theirs) == chat
    assert isinstance(chat[-1], TurnEnded)
    assert chat[-1].reason == finish


@given(st.data(), st.booleans())
def test_the_split_into_reads_changes_the_events_of_neither_api(
    data: st.DataObject, is_chat: bool
) -> None:
    output = (THOUGHT, Message(("Grüße, ", "🌍")), *CALLS)
    api = ChatCompletions() if is_chat else Responses("")
    sent = chat_stream(*output, finish="tool_calls") if is_chat else responses.stream(*output)
    whole = b"".join(sent)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=8)))
    reads = [whole[start:end] for start, end in pairwise([0, *cuts, len(whole)])]

    assert read(api.reader(), reads) == read(api.reader(), sent)


def conversation() -> ModelRequest:
    spoken = {"role": "assistant", "content": "Let me see."}
    made = {"name": "look", "arguments": '{"at":"sky"}', "message_id": "m", "executor": "client"}
    items = [
        Item("u", "message", {"role": "user", "content": "What is there?"}),
        Item("m", "message", spoken),
        Item("c1", "tool_call", {**made, "name": "look_up"}),
        Item("c2", "tool_call", {**made, "name": "look_down"}),
        Item("r1", "tool_result", {"call_id": "c1", "content": "stars"}),
        Item("v", "message", {"role": "user", "content": "Well?"}),
    ]
    look = ToolSpecification("look", "Looks.", {"type": "object", "properties": {}})
    return ModelRequest(items=items, instructions="be good", tools=[look])


def test_both_apis_send_the_same_texts_in_the_same_order() -> None:
    request = conversation()
    chat = ChatCompletions().body(request, "fake-1")
    theirs = Responses("").body(request, "fake-1")
    words = ["be good", "What", "Let me", "look_up", "look_down", "stars", "No result", "Well?"]

    for sent in (
        json.dumps(chat["messages"]),
        json.dumps([theirs["instructions"], theirs["input"]]),
    ):
        places = [sent.index(word) for word in words]
        assert places == sorted(places)


@pytest.mark.parametrize(
    ("api", "other"),
    [("chat_completions", "responses"), ("responses", "chat_completions")],
)
def test_only_the_adapter_in_use_is_imported(api: str, other: str) -> None:
    script = f"""
import asyncio, sys
from shared.http.services import run_services
from shared.core import Settings
from shared.models import OpenAIModel

loaded = lambda: {{name.split(".")[2] for name in sys.modules if name.startswith("shared.models.")}}
model = OpenAIModel(Settings(openai_api={api!r}))
assert not loaded() & {{"chat_completions", "responses"}}, loaded()
asyncio.run(model.warm())
assert {api!r} in loaded() and {other!r} not in loaded(), loaded()
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
