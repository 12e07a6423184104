"""The items of a thread, and what a run says about them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from shared.core.json import Json

Kind = Literal["message", "reasoning", "tool_call", "tool_result", "summary"]


@dataclass(frozen=True, slots=True)
class Item:
    """An entry of a thread: a message, a piece of reasoning, a tool call or its result, a summary.

    `key` is its id for clients. `data` by kind:

    * message {role, content, status?}
    * reasoning {text, message_id}
    * tool_call {name, arguments, message_id, provider_id, executor: client | server}
    * tool_result {call_id, content, error? of a frontend, status?: error | denied | refused | unknown, arguments? as
      the user changed them}
    * summary {text, through: the key of the last item that it stands for}

    The model's messages and tool calls may have `provider` {api, base_url?, items?}: the API that they came from, and
    what it wants back with them. It is stored for later requests and shown to nobody (`public_data`).
    """

    key: str
    kind: Kind
    data: Json

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        return cls(row["key"], row["kind"], row["data"])


def public_data(data: Json) -> Json:
    """An item's data as clients may see it."""
    return {name: value for name, value in data.items() if name != "provider"}


@dataclass(frozen=True, slots=True)
class Answer:
    """A user's answer to an interrupt of an earlier run. `reason`: tool_call (an approval) or input_required.

    `payload` is the user's; `state` is the state that the tool stored with its question.
    """

    interrupt_id: str
    call_id: str
    reason: str
    status: Literal["resolved", "cancelled"]
    payload: Any = None
    state: Any = None

    @property
    def allows(self) -> bool:
        """Whether the call may continue. Only an explicit yes counts."""
        if self.status != "resolved":
            return False
        payload = self.payload if isinstance(self.payload, dict) else {}
        return self.reason == "input_required" or payload.get("approved") is True


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one or more model calls; None where nothing is known.

    `is_estimate`: a provider reported none, and its tokens are an estimate.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    model: str | None = None
    is_estimate: bool | None = None

    def __add__(self, other: "Usage") -> "Usage":
        def total(ours: int | None, theirs: int | None) -> int | None:
            return theirs if ours is None else ours + (theirs or 0)

        return Usage(
            total(self.input_tokens, other.input_tokens),
            total(self.output_tokens, other.output_tokens),
            total(self.cached_tokens, other.cached_tokens),
            total(self.reasoning_tokens, other.reasoning_tokens),
            other.model or self.model,
            self.is_estimate or other.is_estimate,
        )

    @classmethod
    def from_json(cls, stored: Json) -> Self:
        """The usage that `to_json` returned, without members that a newer version added."""
        return cls(**{name: stored[name] for name in cls.__slots__ if name in stored})

    @property
    def total(self) -> int:
        return (self.input_tokens or 0) + (self.output_tokens or 0)

    def to_json(self) -> Json:
        return {
            name: value for name in self.__slots__ if (value := getattr(self, name)) is not None
        }
