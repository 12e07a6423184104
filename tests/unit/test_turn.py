"""A model's stream becomes the same events despite the differences of providers."""

from shared.agents.turn import TurnRecorder
from shared.core.events import Draft
from shared.core.items import Usage
from shared.core.json import Json
from shared.models.chat_completions import ChatCompletions
from shared.models.events import (
    ModelEvent,
    ProviderData,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    TurnEnded,
)
from tests.doubles import DONE, chunk


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


def test_a_turn_without_output_has_no_items() -> None:
    turn, drafts = play(TurnEnded("stop", Usage()))

    assert drafts == []
    assert turn.items == []


def test_pieces_of_two_calls_may_alternate() -> None:
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


ORIGIN = {"api": "responses", "base_url": "https://example.com/v1"}


def opaque(name: str) -> ProviderData:
    return ProviderData(ORIGIN, {"type": "reasoning", "id": name})


def kept(item: dict[str, object]) -> object:
    return item.get("provider")


def test_provider_data_is_kept_with_the_item_that_follows_it() -> None:
    turn, drafts = play(
        opaque("before the message"),
        TextDelta("let me "),
        opaque("before the first call"),
        TextDelta("see"),
        ToolCallDelta(0, "a", "f", "{}"),
        ToolCallDelta(1, "b", "g", "{}"),
    )
    (message,), (first, second) = completed(drafts, "message"), completed(drafts, "tool_call")

    assert kept(message) == {**ORIGIN, "items": [{"type": "reasoning", "id": "before the message"}]}
    held = {**ORIGIN, "items": [{"type": "reasoning", "id": "before the first call"}]}
    assert kept(first) == held
    assert "provider" not in second
    assert [item.data for item in turn.items] == [message, first, second]


def test_provider_data_about_the_message_is_kept_with_it_even_when_it_comes_later() -> None:
    phase = ProviderData(ORIGIN, {"type": "message", "phase": "commentary"}, "message")
    _, drafts = play(TextDelta("wait"), phase, ToolCallDelta(0, "a", "f", "{}"))

    (message,) = completed(drafts, "message")
    assert kept(message) == {**ORIGIN, "items": [{"type": "message", "phase": "commentary"}]}
    assert "provider" not in completed(drafts, "tool_call")[0]


def test_reasoning_that_nothing_followed_is_not_kept() -> None:
    # An API refuses reasoning that is not followed by the item it belongs to.
    turn, drafts = play(ReasoningDelta("hm"), opaque("last"), TurnEnded("length", Usage()))

    assert completed(drafts, "reasoning") == [{"text": "hm", "message_id": turn.message_id}]
    assert "last" not in str(drafts)


def test_data_for_a_provider_makes_no_event() -> None:
    assert TurnRecorder(()).record(opaque("x")) == []


def test_data_of_a_call_and_of_the_turn_is_kept_with_them() -> None:
    call, whole = ({"of": "call"}, {"of": "turn"})
    _, drafts = play(
        ProviderData(ORIGIN, whole, "turn"),
        ToolCallDelta(0, "a", "f", "", ORIGIN),
        ProviderData(ORIGIN, call, "call"),
        ToolCallDelta(1, "b", "g", "", ORIGIN),
    )
    first, second = completed(drafts, "tool_call")

    assert first["provider"] == {**ORIGIN, "items": [call, whole]}
    # Where its id came from.
    assert second["provider"] == ORIGIN


def test_data_of_the_turn_is_kept_with_its_text_if_it_has_one() -> None:
    _, drafts = play(
        ToolCallDelta(0, "a", "f", ""), ProviderData(ORIGIN, {}, "turn"), TextDelta("well")
    )

    assert completed(drafts, "message")[0]["provider"] == {**ORIGIN, "items": [{}]}
    assert "provider" not in completed(drafts, "tool_call")[0]


def test_chat_completions_keep_signatures_details_and_the_name_of_reasoning() -> None:
    deltas: list[Json] = [
        {"reasoning_content": "hm", "reasoning_details": [{"type": "text", "text": "h"}]},
        {"reasoning_content": "hm", "reasoning_details": [{"type": "text", "text": "m"}]},
        {
            "tool_calls": [
                {
                    "index": 0,
                    "id": "a",
                    "function": {"name": "f", "arguments": "{}"},
                    "extra_content": {"google": {"thought_signature": "s"}},
                }
            ]
        },
    ]
    reader = ChatCompletions("https://example.com/v1").reader()
    reads = [*map(chunk, deltas), chunk(finish="tool_calls"), DONE]
    _, drafts = play(*[event for data in reads for event in reader.feed(data)])
    (item,) = completed(drafts, "tool_call")

    signature = {"extra_content": {"google": {"thought_signature": "s"}}}
    details = {"reasoning_details": [{"type": "text", "text": "hm"}]}
    assert item["provider"] == {
        "api": "chat_completions",
        "base_url": "https://example.com/v1",
        "items": [
            {"of": "call", "members": signature},
            {"reasoning": "reasoning_content"},
            {"of": "turn", "members": details},
        ],
    }
