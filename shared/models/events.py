"""The events of a model's stream, a closed set, in no API's own terms."""

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from shared.core import Json, Usage

#: Why a turn ended. `length` and `content_filter`: before the model had finished. `refusal`: the model will not answer,
#: as its text says.
FinishReason = Literal["stop", "tool_calls", "length", "content_filter", "refusal"]


# The deltas are not frozen: a frozen dataclass takes 1.4 times as long to create, and there is one for each token.
# They are not tuples: those of a text and of reasoning would be equal.
@dataclass(slots=True)
class TextDelta:
    """A piece of the response's text."""

    text: str


@dataclass(slots=True)
class ReasoningDelta:
    """A piece of the reasoning, or of its summary, that the provider shows."""

    text: str


@dataclass(slots=True)
class ToolCallDelta:
    """A piece of a tool call. `index` tells the calls of a turn apart; `id` and `name` come once, usually first.

    `origin` {api, base_url?} names the only API that may get this `id` back.
    """

    index: int
    id: str | None
    name: str | None
    arguments: str
    origin: Json | None = field(default=None, compare=False)


class ProviderData(NamedTuple):
    """Data that only the provider can read, and wants back with later requests; it is never shown to a client.

    `origin` {api, base_url?} names the only API that it may be sent to. `belongs_to`: its place in later requests is
    right before the message or the call that comes next; or it describes the turn's `message`, the `call` whose piece
    came last, or the whole `turn`.
    """

    origin: Json
    item: Json
    belongs_to: Literal["next", "message", "call", "turn"] = "next"


class TurnEnded(NamedTuple):
    """The last event of a turn: why it ended, and what it cost."""

    reason: FinishReason
    usage: Usage


ModelEvent = TextDelta | ReasoningDelta | ToolCallDelta | ProviderData | TurnEnded


class ModelFailed(Exception):
    """The model did not answer, or broke off. `retryable`: the same request may succeed later.

    `status`, `provider_code` and `parameter` are what the provider says about it, where it does.
    """

    def __init__(self, code: str, message: str, *, retryable: bool) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retryable = retryable
        self.status: int | None = None
        self.provider_code: str | None = None
        self.parameter: str | None = None

    @property
    def facts(self) -> Json:
        """The code, and what the provider says, for a log line; without what is unknown."""
        names = ("code", "status", "provider_code", "parameter")
        return {name: value for name in names if (value := getattr(self, name)) is not None}


class ContextOverflow(ModelFailed):
    """The request is longer than the model's context."""

    def __init__(self) -> None:
        message = "The conversation is longer than the model's context."
        super().__init__("model_rejected", message, retryable=False)
