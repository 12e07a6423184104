"""What a summary of a thread stands for, and the text from which a model writes it."""

from collections.abc import Iterable
from itertools import accumulate
from typing import Final

from shared.core import Item
from shared.models.conversation import AssistantMessage, Message, messages_of
from shared.models.cutting import KEPT, clip, message_tokens
from shared.models.history import room_for_messages
from shared.models.requests import ModelRequest

#: A summary takes at most this part of the room for messages.
_SUMMARY: Final = 8
#: Of each call's arguments and result, a transcript has this many tokens.
_RESULT_TOKENS: Final = 400


def oldest_exchanges(request: ModelRequest) -> list[Item]:
    """The items of the exchanges that a full request has to lose; empty if all of them fit.

    The rest and a summary take as much of the room as is left after a cut. The last exchange always stays.
    """
    exchanges = _exchanges(request.items)
    if len(exchanges) < 2:
        return []
    room = room_for_messages(request)
    sizes = [sum(map(message_tokens, messages_of(exchange))) for exchange in exchanges]
    total, goal = sum(sizes), int(room * KEPT) - room // _SUMMARY
    if total <= room:
        return []
    # How much is left without the first exchange, the first two, and so on.
    left = [total - dropped for dropped in accumulate(sizes[:-1])]
    count = next((nth for nth, size in enumerate(left, 1) if size <= goal), len(left))
    return [item for exchange in exchanges[:count] for item in exchange]


def _exchanges(items: Iterable[Item]) -> list[list[Item]]:
    exchanges: list[list[Item]] = [[]]
    follows_summary = False
    for item in items:
        if item.kind == "message" and item.data["role"] == "user" and not follows_summary:
            exchanges.append([])
        exchanges[-1].append(item)
        # A summary alone is no exchange: a summary of it would say nothing new, in every turn again.
        follows_summary = "through" in item.data
    return [exchange for exchange in exchanges if exchange]


def transcript(items: Iterable[Item]) -> str:
    """Items as a text for a model.

    Not as messages: some servers refuse calls of tools that the request does not have.
    """
    return "\n\n".join(map(_transcript, messages_of(items)))


def clip_summary(text: str, request: ModelRequest) -> str:
    """A summary of at most an eighth of the room for the request's messages."""
    return clip(text, room_for_messages(request) // _SUMMARY)


def _transcript(message: Message) -> str:
    if not isinstance(message, AssistantMessage):
        parts = (part if isinstance(part, str) else f"[{part.kind}]" for part in message.parts)
        return "User: " + "\n".join(parts)
    calls = (
        f"(called {call.name} with {clip(call.arguments, _RESULT_TOKENS)}:"
        f" {clip(call.result, _RESULT_TOKENS)})"
        for call in message.calls
    )
    return "Assistant: " + "\n".join([*([message.text] if message.text else []), *calls])
