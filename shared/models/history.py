"""A request's conversation, the same for every API: valid for every server, and cut to what the model can read."""

from dataclasses import replace
from typing import Final

from shared.models.alternation import alternating
from shared.models.content import context_text
from shared.models.conversation import Message, messages_of
from shared.models.cutting import cut, message_tokens
from shared.models.requests import ModelRequest
from shared.models.sizes import FRAME_TOKENS, json_tokens, text_tokens

#: The room for messages changes by this part of the context at a time. If it followed each run's facts exactly, a
#: conversation would be cut at other places in each run.
_STEPS: Final = 16
#: The part of the context that messages always get.
_LEAST_ROOM: Final = 4
#: A request for less is not tried.
_FEWEST_TOKENS: Final = 512


def conversation(request: ModelRequest) -> list[Message]:
    """The messages of a request, in the order that every server takes.

    They get the room that instructions, tools, the app's facts and the longest response leave of `context_tokens`.
    """
    context = context_text(request.context) if request.context else ""
    return alternating(_fitting(request), context)


def shortened(request: ModelRequest) -> ModelRequest | None:
    """The request with so small a context that its conversation gets shorter; None if it cannot.

    The context is halved, as often as it takes, and not fitted to this request: the next requests of the thread are
    cut to the same size, and begin alike.
    """
    size = sent_tokens(request)
    tokens = request.context_tokens // 2
    while tokens >= size:
        tokens //= 2
    return replace(request, context_tokens=tokens) if tokens >= _FEWEST_TOKENS else None


def sent_tokens(request: ModelRequest) -> int:
    """An estimate of the tokens of a request as it is sent."""
    return _fixed_tokens(request) + sum(map(message_tokens, _fitting(request)))


def _fitting(request: ModelRequest) -> list[Message]:
    return cut(messages_of(request.items), room_for_messages(request))


def room_for_messages(request: ModelRequest) -> int:
    """How many tokens the messages of a request may take; a longer conversation is cut."""
    tokens = request.context_tokens
    step = max(1, tokens // _STEPS)
    taken = -(-_fixed_tokens(request) // step) * step
    return max(tokens - taken, tokens // _LEAST_ROOM)


def _fixed_tokens(request: ModelRequest) -> int:
    """What a request takes beside its messages."""
    size = FRAME_TOKENS + text_tokens(request.instructions)
    if request.context:
        size += text_tokens(context_text(request.context))
    size += sum(FRAME_TOKENS + json_tokens([*tool]) for tool in request.tools)
    settings = request.settings
    if settings.output_schema:
        size += json_tokens(settings.output_schema)
    # Servers refuse a request that leaves less room than the response may take.
    return size + min(settings.max_output_tokens or 0, request.context_tokens // 2)
