"""A thread's items as the messages a model reads (OpenAI's Chat Completions)."""

from collections.abc import Iterable, Sequence
from typing import Any

from shared.core import Item, Json

#: English prose and JSON run at about four characters a token; what matters is to err on one side, cheaply.
_CHARACTERS_PER_TOKEN = 4

_NO_RESULT = "No result: this call was not answered, and its outcome is unknown."


def transcript(
    instructions: str, context: Sequence[Json], items: Iterable[Item], tokens: int
) -> list[Json]:
    """The messages of one model call, cut to about `tokens` by whole turns, oldest first; the newest always stays.

    Every tool call gets a result: where there is none, one that says so, as the API refuses a call without.
    """
    head = [{"role": "system", "content": instructions}]
    if context:
        lines = [f"{entry.get('description', '')}: {entry.get('value', '')}" for entry in context]
        head.append({"role": "user", "content": "\n".join(["The app gives this context:", *lines])})
    turns = _turns(items)
    room = tokens * _CHARACTERS_PER_TOKEN - sum(map(_size, head))
    kept: list[list[Json]] = []
    for turn in reversed(turns):
        room -= sum(map(_size, turn))
        if kept and room < 0:
            break
        kept.append(turn)
    return head + [message for turn in reversed(kept) for message in turn]


def _turns(items: Iterable[Item]) -> list[list[Json]]:
    """Messages grouped so that each group begins with the user, and no group parts a call from its result."""
    turns: list[list[Json]] = [[]]
    open_calls: dict[str, str] = {}
    for item in items:
        if item.kind != "tool_result" and not _joins(turns[-1], item):
            _answer(turns[-1], open_calls)
        match item.kind:
            case "message" if item.data["role"] == "user":
                turns.append([{"role": "user", "content": _content(item.data["content"])}])
            case "message":
                turns[-1].append(
                    {"role": "assistant", "content": item.data["content"], "message_id": item.key}
                )
            case "tool_call":
                _add_call(turns[-1], item)
                open_calls[item.key] = _provider_id(item)
            case "tool_result" if provider_id := open_calls.pop(item.data["call_id"], None):
                turns[-1].append(_result(provider_id, item.data["content"]))
            case _:
                pass
    _answer(turns[-1], open_calls)
    for message in (message for turn in turns for message in turn):
        message.pop("message_id", None)
    return [turn for turn in turns if turn]


def _joins(turn: list[Json], item: Item) -> bool:
    """Whether the item is one more call of the message that was written last."""
    message_id = turn[-1].get("message_id") if turn else None
    return item.kind == "tool_call" and message_id == item.data["message_id"]


def _answer(turn: list[Json], open_calls: dict[str, str]) -> None:
    turn.extend(_result(provider_id, _NO_RESULT) for provider_id in open_calls.values())
    open_calls.clear()


def _result(provider_id: str, content: Any) -> Json:
    return {"role": "tool", "tool_call_id": provider_id, "content": _text(content)}


def _add_call(turn: list[Json], item: Item) -> None:
    call = {
        "id": _provider_id(item),
        "type": "function",
        "function": {"name": item.data["name"], "arguments": item.data["arguments"]},
    }
    if not _joins(turn, item):
        message = {"role": "assistant", "content": None}
        turn.append({**message, "message_id": item.data["message_id"]})
    turn[-1].setdefault("tool_calls", []).append(call)


def _provider_id(item: Item) -> str:
    # Only ever echoed to who gave it: providers repeat `call_0`, and some give none.
    return item.data.get("provider_id") or item.key


def _content(content: Any) -> Any:
    """A user's content; parts the model cannot use become a note of what they were."""
    if isinstance(content, str):
        return content
    return [_part(part) for part in content] or ""


def _part(part: Json) -> Json:
    if part.get("type") == "text" and isinstance(part.get("text"), str):
        return {"type": "text", "text": part["text"]}
    if part.get("type") == "image" and (url := _url(part.get("source"))):
        return {"type": "image_url", "image_url": {"url": url}}
    return {"type": "text", "text": f"[a {part.get('type', 'part')!s} that cannot be shown here]"}


def _url(source: Any) -> str | None:
    match source:
        case {"type": "url", "value": str(url)}:
            return url
        case {"type": "data", "value": str(data), "mimeType": str(kind)}:
            return f"data:{kind};base64,{data}"
    return None


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in map(_part, content) if part["type"] == "text")


def _size(message: Json) -> int:
    calls = message.get("tool_calls") or ()
    written = sum(
        len(call["function"]["arguments"]) + len(call["function"]["name"]) for call in calls
    )
    return written + len(str(message.get("content") or "")) + 16
