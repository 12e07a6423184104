"""What a provider wants back: stored with its turn, sent back to the server that it came from, and to no other."""

import json
from typing import Any

import pytest

from shared.agents.turn import TurnRecorder
from shared.core.items import Item
from shared.core.json import Json
from shared.models.chat_completions import ChatCompletions
from tests.doubles import DONE, chunk
from tests.fixtures.items import assistant, call, request, thought, user

GEMINI = "https://generativelanguage.googleapis.com/v1beta/openai"
DEEPSEEK = "https://api.deepseek.com"
ROUTER = "https://openrouter.ai/api/v1"
ELSEWHERE = "https://elsewhere.example.com/v1"
SIGNATURE = {"google": {"thought_signature": "canary"}}


def turn(base_url: str, *deltas: Json, finish: str = "tool_calls") -> list[Item]:
    """The items of a turn that this server sent."""
    reader, recorder = ChatCompletions(base_url).reader(), TurnRecorder(())
    reads = [*(chunk(delta) for delta in deltas), chunk(finish=finish), DONE]
    for event in [event for data in reads for event in reader.feed(data)] + reader.finish():
        recorder.record(event)
    recorder.close()
    return recorder.items


def made(name: str = "look", index: int = 0, id_: str = "call_0", **more: Any) -> Json:
    function = {"name": name, "arguments": "{}"}
    return {"tool_calls": [{"index": index, "id": id_, "function": function, **more}]}


def sent(base_url: str, *items: Item, model: str = "fake-1") -> list[Json]:
    """The messages that a server gets."""
    body = ChatCompletions(base_url).body(request(user("hi"), *items), model)
    return list(body["messages"])


def test_the_signature_of_a_call_comes_back_with_it() -> None:
    items = turn(GEMINI, made(extra_content=SIGNATURE), made("wait", 1, "call_1"))
    first, second = sent(GEMINI, *items, model="gemini-3-pro")[2]["tool_calls"]

    assert first["extra_content"] == SIGNATURE
    assert "extra_content" not in second
    assert (first["id"], second["id"]) == ("call_0", "call_1")


def test_a_signature_may_come_after_its_call() -> None:
    later = {
        "tool_calls": [{"index": 0, "function": {"arguments": ""}, "extra_content": SIGNATURE}]
    }
    items = turn(GEMINI, made(), made("wait", 1, "call_1"), later)

    assert sent(GEMINI, *items)[2]["tool_calls"][0]["extra_content"] == SIGNATURE


def test_the_signature_of_a_text_comes_back_with_it() -> None:
    items = turn(GEMINI, {"content": "Hello", "extra_content": SIGNATURE}, finish="stop")

    assert sent(GEMINI, *items)[2]["extra_content"] == SIGNATURE


def test_a_mark_of_a_thought_is_no_signature() -> None:
    thinks = {"content": "Hello", "extra_content": {"google": {"thought": True}}}

    assert "extra_content" not in sent(GEMINI, *turn(GEMINI, thinks, finish="stop"))[2]


def test_reasoning_comes_back_with_the_calls_that_it_led_to() -> None:
    deltas = [{"reasoning_content": "Look "}, {"reasoning_content": "there."}, {"content": "Hm."}]

    assert sent(DEEPSEEK, *turn(DEEPSEEK, *deltas, made()))[2]["reasoning_content"] == "Look there."


def test_reasoning_by_another_name_does_not_come_back() -> None:
    # Groq refuses it (https://github.com/musistudio/llms/pull/64), and no server that has this name wants it.
    message = sent(ELSEWHERE, *turn(ELSEWHERE, {"reasoning": "Look."}, made()))[2]

    assert message.keys() == {"role", "content", "tool_calls"}


def test_reasoning_without_calls_does_not_come_back() -> None:
    items = turn(DEEPSEEK, {"reasoning_content": "Look."}, {"content": "Hi."}, finish="stop")

    assert "reasoning_content" not in sent(DEEPSEEK, *items)[2]


def test_details_of_reasoning_come_back_whole() -> None:
    def piece(**more: Any) -> Json:
        return {"reasoning_details": [{"type": "reasoning.text", "index": 0, **more}]}

    sealed = {"type": "reasoning.encrypted", "index": 1, "data": "gA==", "id": "r1"}
    other = {**sealed, "id": "r2"}
    items = turn(
        ROUTER,
        piece(text="Look ", format="anthropic"),
        piece(text="there.", signature=None),
        piece(text="", signature="canary"),
        {"reasoning_details": [sealed, other]},
        made(),
    )
    whole = {"type": "reasoning.text", "index": 0, "text": "Look there.", "signature": "canary"}

    assert sent(ROUTER, *items)[2]["reasoning_details"] == [
        {**whole, "format": "anthropic"},
        sealed,
        other,
    ]


@pytest.mark.parametrize(
    "odd",
    [
        {"extra_content": 7},
        {"extra_content": {"google": 7}},
        {"reasoning_details": "hm"},
        {"reasoning_details": [7, None]},
        {"reasoning_details": [{"text": 7}, {"text": "a"}]},
    ],
)
def test_members_of_another_shape_do_not_fail_an_answer(odd: Json) -> None:
    items = turn(ROUTER, {"content": "Hi.", **odd}, finish="stop")

    assert items[-1].data["content"] == "Hi."


def test_only_the_server_that_it_came_from_gets_it() -> None:
    items = turn(
        GEMINI,
        {"reasoning_content": "canary"},
        {"content": "Hm.", "extra_content": SIGNATURE},
        {"reasoning_details": [{"type": "reasoning.text", "text": "canary"}]},
        made(id_="canary", extra_content=SIGNATURE),
    )

    assert "canary" in json.dumps(sent(GEMINI, *items))
    assert "canary" not in json.dumps(sent(ELSEWHERE, *items))
    assert "canary" not in json.dumps(sent("", *items))


@pytest.mark.parametrize(
    ("base_url", "model", "is_signed"),
    [
        (GEMINI, "gemini-3-flash", True),
        (GEMINI, "models/gemini-4-pro", True),
        (GEMINI, "gemini-2.5-flash", False),
        (ELSEWHERE, "gemini-3-flash", False),
        ("https://eu-aiplatform.googleapis.com/v1/openapi", "google/gemini-3-pro", True),
    ],
)
def test_gemini_gets_a_signature_for_the_call_of_another_model(
    base_url: str, model: str, is_signed: bool
) -> None:
    first, second = sent(base_url, call("c1"), call("c2"), model=model)[2]["tool_calls"]

    assert ("extra_content" in first) == is_signed
    assert "extra_content" not in second


def test_deepseek_and_kimi_get_reasoning_for_the_call_of_another_model() -> None:
    thinking = [thought(), call("c1")]

    for base_url in (DEEPSEEK, "https://api.moonshot.ai/v1", "https://api.moonshot.cn/v1"):
        assert sent(base_url, *thinking)[2]["reasoning_content"].strip()
    assert "reasoning_content" not in sent(ELSEWHERE, *thinking)[2]
    assert "reasoning_content" not in sent(DEEPSEEK, assistant("Hi."))[2]


def test_a_plain_delta_costs_no_look_at_rare_members(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "shared.models.chat_completions.provider_fields.ProviderFields.of_delta", None
    )
    reader = ChatCompletions(ROUTER).reader()

    assert reader.feed(chunk({"content": "a"}))
