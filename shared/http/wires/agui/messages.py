"""A thread's items as AG-UI messages, for snapshots. Pure."""

from collections.abc import Sequence

from shared.core import Item, Json, RunEvent, Snapshot

#: The member that holds an item's text, by kind.
_TEXTS = {"message": "content", "reasoning": "text", "tool_call": "arguments"}


def for_older_client(message: Json) -> Json:
    """The message for a client before AG-UI 1.0, in whose schema a tool's result is a text."""
    if message["role"] != "tool" or isinstance(message["content"], str):
        return message
    texts = [part["text"] for part in message["content"] if isinstance(part.get("text"), str)]
    return {**message, "content": "\n".join(texts)}


def messages(snapshot: Snapshot) -> list[Json]:
    """A thread's items as AG-UI messages: calls belong to the assistant message of their turn."""
    history: list[Json] = []
    for item in [*snapshot.items, *_partial(snapshot.open)]:
        match item.kind:
            case "message":
                history.append({"id": item.key, **_plain(item.data, "role", "content", "name")})
            case "reasoning":
                history.append({"id": item.key, "role": "reasoning", "content": item.data["text"]})
            case "tool_call":
                _assistant(history, item).setdefault("toolCalls", []).append(_call(item))
            case "tool_result":
                result = {
                    "toolCallId": item.data["call_id"],
                    **_plain(item.data, "content", "error"),
                }
                history.append({"id": item.key, "role": "tool", **result})
            case "summary":
                activity = summary_activity(item.key, item.data)
                history.append({"id": activity.pop("messageId"), "role": "activity", **activity})
    return history


def summary_activity(item_id: str, data: Json) -> Json:
    """A summary, as the members of an activity: {messageId, activityType, content {text}}."""
    return {"messageId": item_id, "activityType": "summary", "content": {"text": data["text"]}}


def _plain(data: Json, *names: str) -> Json:
    return {name: data[name] for name in names if data.get(name) is not None}


def _assistant(history: list[Json], call: Item) -> Json:
    message_id = call.data["message_id"]
    for message in reversed(history):
        if message["id"] == message_id:
            return message
    history.append({"id": message_id, "role": "assistant"})
    return history[-1]


def _call(item: Item) -> Json:
    function = {"name": item.data["name"], "arguments": item.data["arguments"]}
    return {"id": item.key, "type": "function", "function": function}


def _partial(events: Sequence[RunEvent]) -> list[Item]:
    """Items that are not complete yet, with their text so far."""
    texts: dict[str, list[str]] = {}
    starts: dict[str, Json] = {}
    for event in events:
        item_id = event.item_id or ""
        if event.type == "item.started":
            starts[item_id], texts[item_id] = event.data, []
        elif item_id in texts:
            texts[item_id].append(event.data["delta"])
    return [
        Item(
            item_id,
            data["kind"],
            {**data, "role": "assistant", _TEXTS[data["kind"]]: "".join(texts[item_id])},
        )
        for item_id, data in starts.items()
        if data["kind"] in _TEXTS
    ]
