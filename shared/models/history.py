"""Prepares a thread for a model, in the same way for every API.

Every call gets exactly one result, old exchanges are cut to fit the model's context, and content that a model cannot
read is replaced by a text.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from shared.core import Item, Json

#: A cheap estimate: English prose and JSON have about four characters per token. It may be too high; then more history
#: is cut than necessary.
_CHARACTERS_PER_TOKEN = 4
#: The estimated size of a message, and of a part of its content, without its text; in characters.
_MESSAGE_OVERHEAD, _PART_OVERHEAD = 16, 30
_NO_RESULT = "No result: this call was not answered, and its outcome is unknown."


class Image(NamedTuple):
    """An image by its address, which may be a `data:` URL."""

    url: str


def visible_parts(content: Any) -> list[str | Image]:
    """The parts of a content as texts and images. Any other part becomes a text that names its type."""
    return [content] if isinstance(content, str) else [_part(part) for part in content or ()]


def text_of(content: Any) -> str:
    """The texts of a content, without its images."""
    return "\n".join(part for part in visible_parts(content) if isinstance(part, str))


def context_text(context: Sequence[Json]) -> str:
    """The app's facts, as the user's first message."""
    lines = [f"{entry.get('description', '')}: {entry.get('value', '')}" for entry in context]
    return "\n".join(["The app gives this context:", *lines])


def fit_history(
    items: Iterable[Item], instructions: str, context: Sequence[Json], tokens: int
) -> list[Item]:
    """The items of one request: the newest exchanges that fit into about `tokens`, and always the last one.

    An exchange is a user's message and everything up to the next one. A call without a result gets a result that says
    so, and a result without a call is omitted, because APIs reject both. Reasoning is omitted: the part that its
    provider needs is stored with the message or call that comes next (`ProviderData`).
    """
    room = tokens * _CHARACTERS_PER_TOKEN - len(instructions) - _MESSAGE_OVERHEAD
    if context:
        room -= len(context_text(context)) + _MESSAGE_OVERHEAD
    newest: list[list[Item]] = []
    for exchange in reversed(_exchanges(_with_results(items))):
        room -= _size(exchange)
        if newest and room < 0:
            break
        newest.append(exchange)
    return [item for exchange in reversed(newest) for item in exchange]


def opens_message(call: Item, previous: Item | None) -> bool:
    """Whether a call starts a new assistant message, because the previous item is not part of its message."""
    match previous:
        case Item(kind="message"):
            return bool(previous.data["role"] == "user" or previous.key != call.data["message_id"])
        case Item(kind="tool_call"):
            return bool(previous.data["message_id"] != call.data["message_id"])
    return True


def _with_results(items: Iterable[Item]) -> Iterator[Item]:
    """The items, with the calls of a message together, followed by one result for each call.

    A result that came after a later message (the user approved a call while another run answered) moves to its call.
    """
    items = list(items)
    results = {item.data["call_id"]: item for item in items if item.kind == "tool_result"}
    open_calls: dict[str, None] = {}
    previous: Item | None = None
    for item in items:
        continues = item.kind == "tool_call" and not opens_message(item, previous)
        if item.kind != "tool_result" and not continues:
            for call_id in open_calls:
                yield (previous := results.get(call_id) or _missing_result(call_id))
            open_calls.clear()
        if item.kind == "reasoning":
            continue
        if item.kind == "tool_call":
            open_calls[item.key] = None
        elif item.kind == "tool_result":
            if item.data["call_id"] not in open_calls:
                continue
            del open_calls[item.data["call_id"]]
        yield (previous := item)
    for call_id in open_calls:
        yield results.get(call_id) or _missing_result(call_id)


def _missing_result(call_id: str) -> Item:
    return Item(f"{call_id}.result", "tool_result", {"call_id": call_id, "content": _NO_RESULT})


def _exchanges(items: Iterable[Item]) -> list[list[Item]]:
    exchanges: list[list[Item]] = [[]]
    for item in items:
        if item.kind == "message" and item.data["role"] == "user":
            exchanges.append([])
        exchanges[-1].append(item)
    return [exchange for exchange in exchanges if exchange]


def _size(exchange: Sequence[Item]) -> int:
    """About how many characters an exchange takes in a request."""
    size = 0
    for previous, item in pairwise([None, *exchange]):
        if item is None:
            continue
        # Counted even if the request goes to another provider: an estimate may be too high.
        size += len(str(item.data.get("provider") or ""))
        if item.kind != "tool_call":
            size += _content_size(item.data["content"]) + _MESSAGE_OVERHEAD
            continue
        size += len(item.data["arguments"]) + len(item.data["name"])
        if opens_message(item, previous):
            size += _MESSAGE_OVERHEAD
    return size


def _content_size(content: object) -> int:
    if isinstance(content, str):
        return len(content)
    parts = visible_parts(content)
    sizes = (len(part.url if isinstance(part, Image) else part) for part in parts)
    return sum(sizes) + _PART_OVERHEAD * len(parts)


def _part(part: Json) -> str | Image:
    if part.get("type") == "text" and isinstance(part.get("text"), str):
        return str(part["text"])
    if part.get("type") == "image" and (url := _url(part.get("source"))):
        return Image(url)
    return f"[a {part.get('type', 'part')!s} that cannot be shown here]"


def _url(source: Any) -> str | None:
    match source:
        case {"type": "url", "value": str(url)}:
            return url
        case {"type": "data", "value": str(data), "mimeType": str(kind)}:
            return f"data:{kind};base64,{data}"
    return None
