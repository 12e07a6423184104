"""Cuts a conversation to the room that a model has for it, in steps, so that requests keep their beginning.

Providers cache the beginning that a request shares with an earlier one. If the oldest message went with each new one,
no two requests would begin alike. So a conversation grows until it is full, and is then cut to 60 % at once.

The cut is a function of the messages alone. It replays how the conversation grew, message by message, so every request
that comes later makes the same cuts at the same places.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from shared.models.content import Part
from shared.models.conversation import AnsweredCall, AssistantMessage, Message, UserMessage
from shared.models.media import Media
from shared.models.sizes import FRAME_TOKENS, json_tokens, media_tokens, text_tokens

#: The part of its room that a full conversation keeps.
KEPT: Final = 0.6
_SHORTEST_CLIP: Final = 32
OLD_IMAGE: Final = "[an image that is no longer shown]"


def cut(messages: Iterable[Message], room: int) -> list[Message]:
    """The messages of one request, of about `room` tokens: the newest ones, and always the last one of the user.

    Old images and other files go first, then the oldest exchanges (a user's message and all up to the next one), then
    the oldest messages of the model in the last exchange. If that is not enough, long texts of the last exchange are
    clipped.
    """
    window = _Window(room)
    for message in messages:
        window.add(message)
    return window.messages


def message_tokens(message: Message) -> int:
    """An estimate of what a message takes in a request."""
    if isinstance(message, UserMessage):
        return FRAME_TOKENS + sum(map(_part_tokens, message.parts))
    size = FRAME_TOKENS + text_tokens(message.text)
    if message.provider:
        # It counts even if the request goes to another provider: an estimate may be too high.
        size += json_tokens(message.provider)
    if message.calls:
        size += text_tokens(message.reasoning) + sum(map(_call_tokens, message.calls))
    return size


class _Window:
    """The messages that are kept, while the conversation grows."""

    def __init__(self, room: int) -> None:
        self.messages: list[Message] = []
        self._room = room
        self._sizes: list[int] = []
        self._size = 0

    def add(self, message: Message) -> None:
        """Append a message, and make room for it."""
        size = message_tokens(message)
        self.messages.append(message)
        self._sizes.append(size)
        self._size += size
        if self._size > self._room:
            self._make_room(int(self._room * KEPT))

    def _make_room(self, goal: int) -> None:
        last = self._start_of_last_exchange()
        for index in range(last):
            self._replace(index, _without_files(self.messages[index]))
        while last > 0 and self._size > goal:
            end = self._end_of_first_exchange()
            self._drop(0, end)
            last -= end
        # The model needs the user's message and what happened last.
        first = 1 if isinstance(self.messages[0], UserMessage) else 0
        while self._size > goal and len(self.messages) > first + 1:
            self._drop(first, first + 1)
        while self._size > self._room and (fewer := _without_first_file(self.messages[0])):
            self._replace(0, fewer)
        longest = self._room // 2
        while self._size > self._room and longest >= _SHORTEST_CLIP:
            for index, message in enumerate(self.messages):
                self._replace(index, _clipped(message, longest))
            longest //= 2

    def _start_of_last_exchange(self) -> int:
        indexes = range(len(self.messages) - 1, -1, -1)
        return next((n for n in indexes if isinstance(self.messages[n], UserMessage)), 0)

    def _end_of_first_exchange(self) -> int:
        indexes = range(1, len(self.messages))
        return next(n for n in indexes if isinstance(self.messages[n], UserMessage))

    def _drop(self, start: int, end: int) -> None:
        self._size -= sum(self._sizes[start:end])
        del self.messages[start:end], self._sizes[start:end]

    def _replace(self, index: int, message: Message) -> None:
        if message is self.messages[index]:
            return
        size = message_tokens(message)
        self._size += size - self._sizes[index]
        self.messages[index], self._sizes[index] = message, size


def _part_tokens(part: Part) -> int:
    return media_tokens(part) if isinstance(part, Media) else text_tokens(part)


def _call_tokens(call: AnsweredCall) -> int:
    texts = (call.name, call.arguments, call.result)
    size = 2 * FRAME_TOKENS + sum(map(text_tokens, texts))
    return size + json_tokens(call.provider) if call.provider else size


def _old(media: Media) -> str:
    return OLD_IMAGE if media.kind == "image" else f"[a {media.kind} file that is no longer shown]"


def _without_files(message: Message) -> Message:
    if isinstance(message, AssistantMessage) or not any(
        isinstance(part, Media) for part in message.parts
    ):
        return message
    return UserMessage(
        tuple(_old(part) if isinstance(part, Media) else part for part in message.parts)
    )


def _without_first_file(message: Message) -> Message | None:
    """A message of the user with one file less; None if it has fewer than two."""
    if isinstance(message, AssistantMessage):
        return None
    files = [(n, part) for n, part in enumerate(message.parts) if isinstance(part, Media)]
    if len(files) < 2:
        return None
    first, file = files[0]
    return UserMessage((*message.parts[:first], _old(file), *message.parts[first + 1 :]))


def _clipped(message: Message, longest: int) -> Message:
    """The message with texts of at most `longest` tokens, and no file that takes more."""
    if isinstance(message, UserMessage):
        return UserMessage(tuple(_clipped_part(part, longest) for part in message.parts))
    calls = tuple(
        replace(
            call,
            arguments=call.arguments if text_tokens(call.arguments) <= longest else "{}",
            result=clip(call.result, longest),
        )
        for call in message.calls
    )
    return replace(message, text=clip(message.text, longest), calls=calls)


def _clipped_part(part: Part, longest: int) -> Part:
    if isinstance(part, Media):
        return part if media_tokens(part) <= longest else _old(part)
    return clip(part, longest)


def clip(text: str, longest: int) -> str:
    """A text of at most about `longest` tokens: its beginning and its end, and how much is missing between them."""
    size = text_tokens(text)
    if size <= longest:
        return text
    kept = max(0, len(text) * (longest - FRAME_TOKENS) // size)
    head, tail = kept * 2 // 3, kept // 3
    note = f"[… {len(text) - head - tail} characters are left out here …]"
    return "\n".join([text[:head], note, text[len(text) - tail :]])
