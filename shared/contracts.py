"""The shapes that cross a process: native events, items and cursors.

Everything an interface shows is a projection of these. They import problems, and nothing else of ours.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Self

import orjson

from shared.problems import InvalidCursor

Json = dict[str, Any]

#: Members of `_meta` between our own functions: the key of a call, what came of it, whether it needs a yes.
CALL_ID = "agent-functions/call_id"
OUTCOME = "agent-functions/outcome"
APPROVAL = "agent-functions/approval"

#: Ids that stand in paths: opaque, but for what a path would read otherwise.
WIRE_ID = (
    r"^([^/\\\x00-\x1f\x7f.]|\.[^/\\\x00-\x1f\x7f.]|\.\.[^/\\\x00-\x1f\x7f])[^/\\\x00-\x1f\x7f]*$"
)

Kind = Literal["message", "reasoning", "tool_call", "tool_result"]

ENDINGS = frozenset(
    ("run.completed", "run.interrupted", "run.incomplete", "run.cancelled", "run.failed")
)


class Draft(NamedTuple):
    """An event before the log gave it a place.

    `data` by type: `item.started` {kind, …}, `item.delta` {channel: text | reasoning | arguments, delta},
    `item.completed` {kind, item: the full value}, `item.aborted` {reason}, endings as in ARCHITECTURE.md.
    """

    type: str
    item_id: str | None = None
    data: Json = {}  # noqa: RUF012  # never written to: drafts are values


class Step(NamedTuple):
    """Events to send at once, or with consequences: to commit first. `closes` a turn: a takeover goes on behind it."""

    drafts: Sequence[Draft]
    commits: bool = False
    closes: bool = False


@dataclass(slots=True)
class Event:
    """One entry of a run's log. `seq` is contiguous within the run, from 1; `attempt` is its holder's, from 1.

    `wire` keeps its encoding, so that an event is encoded once for all who follow.
    """

    attempt: int
    seq: int
    type: str
    item_id: str | None
    data: Json
    wire: Any = None

    @property
    def ends_run(self) -> bool:
        return self.type in ENDINGS


def expand(row: Mapping[str, Any]) -> list[Event]:
    """The events of one stored row: neighbouring deltas of an item share a row."""
    item_id = None if row["item_id"] is None else str(row["item_id"])
    attempt, seq, kind, data = row["attempt"], row["seq"], row["type"], row["data"]
    if kind != "item.delta":
        return [Event(attempt, seq, kind, item_id, data)]
    channel = data["channel"]
    return [
        Event(attempt, seq + nth, kind, item_id, {"channel": channel, "delta": delta})
        for nth, delta in enumerate(data["deltas"])
    ]


class Cursor(NamedTuple):
    """A reader's place in a run: all of (attempt, seq), or of its first `frame` + 1 frames, was received."""

    attempt: int
    seq: int
    frame: int | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `<attempt>.<seq>` or `<attempt>.<seq>.<frame>`.

        Raises:
            InvalidCursor: it is neither.
        """
        parts = text.split(".")
        if len(parts) not in (2, 3) or not all(p.isascii() and p.isdigit() for p in parts):
            raise InvalidCursor(f"The cursor {text[:40]!r} is not <attempt>.<seq>.")
        if any(len(p) > 9 for p in parts):
            raise InvalidCursor(f"The cursor {text[:40]!r} is out of range.")
        return cls(*map(int, parts))

    def __str__(self) -> str:
        return ".".join(str(part) for part in self if part is not None)


@dataclass(frozen=True, slots=True)
class Item:
    """An entry of a thread: a message, a piece of reasoning, a tool call or its result.

    `key` is its id on the wire. `data` by kind: message {role, content, status?}, reasoning {text, message_id},
    tool_call {name, arguments, message_id, provider_id, executor: client | server},
    tool_result {call_id, content, status?: error | denied | refused | unknown, arguments? as the user changed them}.
    """

    key: str
    kind: Kind
    data: Json

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        return cls(row["key"], row["kind"], row["data"])


@dataclass(frozen=True, slots=True)
class Answer:
    """What a user said to a question of an earlier run: `reason` tool_call (may it run?) or input_required.

    `payload` is the user's, `state` what the tool that asked wants back with it.
    """

    interrupt_id: str
    call_id: str
    reason: str
    status: Literal["resolved", "cancelled"]
    payload: Any = None
    state: Any = None

    @property
    def allows(self) -> bool:
        """Whether the call may go on. Only a plain yes is one."""
        if self.status != "resolved":
            return False
        said = self.payload if isinstance(self.payload, dict) else {}
        return self.reason == "input_required" or said.get("approved") is True


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A thread as the committed log of one run shows it at a position.

    `open` holds the events of items that are not complete yet: their starts and their deltas so far.
    """

    attempt: int
    seq: int
    items: list[Item]
    open: list[Event]
    state: Any

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        return cls(
            row["attempt"],
            row["seq"],
            [Item.from_row(item) for item in row["items"]],
            [event for part in row["open"] for event in expand(part)],
            row["state"],
        )


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one or more model calls; None where the provider said nothing."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    model: str | None = None

    def __add__(self, other: "Usage") -> "Usage":
        def total(mine: int | None, theirs: int | None) -> int | None:
            return theirs if mine is None else mine + (theirs or 0)

        return Usage(
            total(self.input_tokens, other.input_tokens),
            total(self.output_tokens, other.output_tokens),
            total(self.cached_tokens, other.cached_tokens),
            total(self.reasoning_tokens, other.reasoning_tokens),
            other.model or self.model,
        )

    @property
    def total(self) -> int:
        return (self.input_tokens or 0) + (self.output_tokens or 0)

    def to_json(self) -> Json:
        return {
            name: value for name in self.__slots__ if (value := getattr(self, name)) is not None
        }


def canonical(value: Any) -> bytes:
    """The one way to write this JSON, to be hashed."""
    return orjson.dumps(clean_json(value), option=orjson.OPT_SORT_KEYS)


def clean(text: str) -> str:
    """The text as Postgres can keep it: NUL and lone surrogates become U+FFFD."""
    if "\0" in text:
        text = text.replace("\0", "\ufffd")
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def clean_json(value: Any) -> Any:
    """The same JSON as Postgres can keep it."""
    match value:
        case str():
            return clean(value)
        case list():
            return [clean_json(entry) for entry in value]
        case dict():
            return {clean(key): clean_json(entry) for key, entry in value.items()}
    return value
