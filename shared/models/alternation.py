"""Puts a conversation into the order that every server takes.

The strictest grammar is that of Mistral's API and of chat templates that alternate: the first message is the user's,
messages of the user and of the model alternate, the results of calls are followed by a message of the model, and the
last message is the user's or a result. What is missing is said in a few words, always the same and at the same place,
so that requests keep their beginning.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from shared.models.content import Part
from shared.models.conversation import AssistantMessage, Message, UserMessage

_EARLIER: Final = "[Earlier messages are not shown.]"
_CONTINUE: Final = "Continue. Calls that had no result before may have one now."
_NO_ANSWER: Final = "[This answer was not finished.]"
_BETWEEN_TEXTS: Final = "\n\n"


def alternating(messages: Iterable[Message], context: str = "") -> list[Message]:
    """The messages in an order that every server takes. `context` becomes part of the user's last message.

    It is not the first message: it changes with each run, and requests would not begin alike.
    """
    ordered: list[Message] = []
    for message in messages:
        _append(ordered, message)
    if not ordered:
        ordered.append(UserMessage((_EARLIER,)))
    elif isinstance(ordered[-1], AssistantMessage) and not ordered[-1].calls:
        # A frontend answered a call late: its result is above the model's last message.
        ordered.append(UserMessage((_CONTINUE,)))
    return _with_context(ordered, context) if context else ordered


def _append(ordered: list[Message], message: Message) -> None:
    previous = ordered[-1] if ordered else None
    match previous, message:
        case None, AssistantMessage():
            ordered += [UserMessage((_EARLIER,)), message]
        case UserMessage(), UserMessage():
            # After a run that failed or said nothing.
            ordered[-1] = UserMessage(previous.parts + message.parts)
        case AssistantMessage(), UserMessage() if previous.calls:
            # The run ended before the model read the results.
            ordered += [AssistantMessage(_NO_ANSWER), message]
        case AssistantMessage(), AssistantMessage() if not previous.calls:
            ordered += [UserMessage((_CONTINUE,)), message]
        case _:
            ordered.append(message)


def _with_context(ordered: Sequence[Message], context: str) -> list[Message]:
    index, last = max(
        (n, message) for n, message in enumerate(ordered) if isinstance(message, UserMessage)
    )
    changed = UserMessage((*last.parts, context))
    return [*ordered[:index], changed, *ordered[index + 1 :]]


def joined(parts: Iterable[Part]) -> list[Part]:
    """The parts of a message, with neighbouring texts as one."""
    merged: list[Part] = []
    for part in parts:
        if isinstance(part, str) and merged and isinstance(merged[-1], str):
            merged[-1] += _BETWEEN_TEXTS + part
        else:
            merged.append(part)
    return merged
