"""A model's stream becomes events, whatever its provider's habits."""

from shared.agents.turn import TurnRecorder
from shared.core.events import Draft
from shared.core.items import Usage
from shared.models.events import ModelEvent, ReasoningDelta, TextDelta, ToolCallDelta, TurnEnded


def play(
    *events: ModelEvent, client_tools: frozenset[str] = frozenset()
) -> tuple[TurnRecorder, list[Draft]]:
    turn = TurnRecorder(client_tools)
    drafts = [draft for event in events for draft in turn.record(event)]
    return turn, drafts + turn.close()


def shape(drafts: list[Draft]) -> list[str]:
    return [
        f"{d.type.removeprefix('item.')} {d.data.get('kind') or d.data['channel']}" for d in drafts
    ]


def completed(drafts: list[Draft], kind: str) -> list[dict[str, object]]:
    return [d.data["item"] for d in drafts if d.type == "item.completed" and d.data["kind"] == kind]


def test_reasoning_ends_where_the_text_begins() -> None:
    _, drafts = play(ReasoningDelta("hm"), TextDelta("a"), TextDelta("b"))

    assert shape(drafts) == [
        "started reasoning",
        "delta reasoning",
        "completed reasoning",
        "started message",
        "delta text",
        "delta text",
        "completed message",
    ]
    assert completed(drafts, "message") == [{"role": "assistant", "content": "ab"}]


def test_a_turn_that_says_nothing_leaves_nothing() -> None:
    turn, drafts = play(TurnEnded("stop", Usage()))

    assert drafts == []
    assert turn.items == []


def test_calls_numbered_alike_are_told_apart_by_their_ids() -> None:
    turn, drafts = play(
        ToolCallDelta(0, "a", "first", '{"n": 1}'), ToolCallDelta(0, "b", "second", '{"n": 2}')
    )

    assert [call.name for call in turn.calls] == ["first", "second"]
    assert [item["arguments"] for item in completed(drafts, "tool_call")] == [
        '{"n": 1}',
        '{"n": 2}',
    ]


def test_pieces_of_two_calls_may_come_in_turns() -> None:
    _, drafts = play(
        ToolCallDelta(0, "a", "f", ""),
        ToolCallDelta(1, "b", "g", ""),
        ToolCallDelta(0, None, None, "{}"),
        ToolCallDelta(1, None, None, "[]"),
    )

    assert [item["arguments"] for item in completed(drafts, "tool_call")] == ["{}", "[]"]


def test_a_name_that_comes_late_starts_its_call_and_no_argument_is_lost() -> None:
    _, drafts = play(ToolCallDelta(0, "a", None, '{"x":'), ToolCallDelta(0, None, "f", "1}"))

    assert shape(drafts) == ["started tool_call", "delta arguments", "completed tool_call"]
    assert completed(drafts, "tool_call")[0]["arguments"] == '{"x":1}'
    assert "".join(d.data["delta"] for d in drafts if d.type == "item.delta") == '{"x":1}'


def test_a_call_without_id_or_arguments_is_a_call() -> None:
    turn, drafts = play(ToolCallDelta(0, None, "now", ""), client_tools=frozenset({"now"}))

    assert turn.calls[0].executor == "client"
    item = completed(drafts, "tool_call")[0]
    assert item["arguments"] == "{}"
    assert "provider_id" not in item


def test_calls_belong_to_the_message_of_their_turn() -> None:
    turn, drafts = play(TextDelta("let me see"), ToolCallDelta(0, "a", "f", "{}"))

    message = next(d for d in drafts if d.data.get("kind") == "message")
    assert completed(drafts, "tool_call")[0]["message_id"] == message.item_id == turn.message_id
