"""A thread as messages of a conversation: every call has its result, its arguments are an object, no text is empty.

The types have no way to say anything else, so an adapter cannot send it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from shared.core import Item, Json
from shared.models.content import EMPTY_MESSAGE, Part, result_text, text_of, visible_parts

_NO_RESULT: Final = "No result: this call was not answered, and its outcome is unknown."
_NOT_MADE: Final = "The call was not made: its arguments are not a JSON object."


@dataclass(frozen=True, slots=True)
class UserMessage:
    """What the user says; never empty."""

    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class AnsweredCall:
    """A tool call and its result. `arguments` is the text of a JSON object. `provider`: as in `Item`."""

    key: str
    name: str
    arguments: str
    result: str
    provider_id: str | None = None
    provider: Json = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AssistantMessage:
    """What the model says: a text, calls, or both. `provider`: what its provider wants back with it, as in `Item`."""

    text: str
    calls: tuple[AnsweredCall, ...] = ()
    reasoning: str = ""
    provider: Json = field(default_factory=dict)


Message = UserMessage | AssistantMessage


def messages_of(items: Iterable[Item]) -> list[Message]:
    """The messages of a thread, in its order.

    A result belongs to its call wherever it is in the thread: a frontend, or the user's approval, may answer after
    later messages. A result without a call, and a blank text of the model, are omitted.
    """
    items = list(items)
    results = {item.data["call_id"]: item.data for item in items if item.kind == "tool_result"}
    reasoning: dict[str, str] = {}
    messages: list[Message] = []
    for group in _groups(items, reasoning):
        if group[0].kind == "message" and group[0].data["role"] == "user":
            messages.append(_user_message(group[0].data["content"]))
        elif message := _assistant_message(group, results, reasoning):
            messages.append(message)
    return messages


def is_object(arguments: str) -> bool:
    """Whether a call's arguments are the text of a JSON object."""
    try:
        return isinstance(orjson.loads(arguments), dict)
    except orjson.JSONDecodeError:
        return False


def _groups(items: Sequence[Item], reasoning: dict[str, str]) -> Iterable[list[Item]]:
    """The items of each message. Adds the reasoning of messages, by their ids."""
    group: list[Item] = []
    for item in items:
        match item.kind:
            case "reasoning":
                key = item.data["message_id"]
                reasoning[key] = reasoning.get(key, "") + item.data["text"]
            case "tool_call" | "message":
                if group and not _continues(item, group[-1]):
                    yield group
                    group = []
                group.append(item)
    if group:
        yield group


def _continues(item: Item, previous: Item) -> bool:
    """Whether an item is part of the same message of the model as the one before it."""
    if item.kind != "tool_call":
        return False
    message_id = item.data["message_id"]
    if previous.kind == "tool_call":
        return bool(previous.data["message_id"] == message_id)
    return previous.data["role"] != "user" and bool(previous.key == message_id)


def _user_message(content: Any) -> UserMessage:
    return UserMessage(tuple(visible_parts(content)) or (EMPTY_MESSAGE,))


def _assistant_message(
    group: Sequence[Item], results: Mapping[str, Json], reasoning: Mapping[str, str]
) -> AssistantMessage | None:
    first = group[0]
    calls = tuple(_call(item, results.get(item.key)) for item in group if item.kind == "tool_call")
    message_id = first.data["message_id"] if first.kind == "tool_call" else first.key
    thought = reasoning.get(message_id, "")
    if first.kind == "tool_call":
        return AssistantMessage("", calls, thought)
    text = text_of(first.data["content"])
    if not text and not calls:
        return None
    return AssistantMessage(text, calls, thought, first.data.get("provider") or {})


def _call(item: Item, result: Json | None) -> AnsweredCall:
    data = item.data
    is_whole = is_object(data["arguments"])
    unanswered = _NO_RESULT if is_whole else _NOT_MADE
    return AnsweredCall(
        item.key,
        data["name"],
        # Servers that read the history refuse anything else, with this request and every later one.
        data["arguments"] if is_whole else "{}",
        unanswered if result is None else result_text(result),
        data.get("provider_id"),
        data.get("provider") or {},
    )
