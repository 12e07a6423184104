"""Native events: the log of a run, a place in it, and the state at a place."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Self, TypeAlias, TypeGuard, get_args

from shared.core.errors import InvalidCursor
from shared.core.items import Item
from shared.core.json import Json

#: The last event of a run, one of these, exactly once.
EndingType = Literal[
    "run.completed", "run.interrupted", "run.incomplete", "run.cancelled", "run.failed"
]
#: Every event there is. A new one is added here; mypy then names the encoders that do not handle it yet.
EventType = (
    Literal[
        "run.queued",
        "run.started",
        "item.started",
        "item.delta",
        "item.progress",
        "item.completed",
        "item.aborted",
        "turn.finished",
        "interrupt.resolved",
    ]
    | EndingType
)
ENDINGS: frozenset[str] = frozenset(get_args(EndingType))
_KNOWN: frozenset[str] = ENDINGS.union(*map(get_args, get_args(EventType)))


class Draft(NamedTuple):
    """An event before the log gives it a place.

    `data` by type: `item.started` {kind, …}, `item.delta` {channel: text | reasoning | arguments, delta},
    `item.progress` {call_id, done, total?, message?} of a call's result,
    `item.completed` {kind, item: the full value}, `item.aborted` {reason}, endings as in ARCHITECTURE.md.
    """

    type: EventType
    item_id: str | None = None
    data: Json = {}  # noqa: RUF012  # never written to: drafts are values


class Step(NamedTuple):
    """Events to send at once, or to commit first. `closes`: a takeover resumes after this step."""

    drafts: Sequence[Draft]
    commits: bool = False
    closes: bool = False


@dataclass(slots=True)
class RunEvent:
    """One entry of a run's log. `seq` is contiguous within the run, from 1. `attempt` is its
    holder's, from 1; it is 0 before the first claim.

    `frames` caches its encoding for clients, so that an event is encoded once for all readers.
    """

    attempt: int
    seq: int
    type: EventType
    item_id: str | None
    data: Json
    frames: Any = None

    @property
    def ends_run(self) -> bool:
        return self.type in ENDINGS


@dataclass(frozen=True, slots=True)
class UnknownEvent:
    """An entry that a newer version wrote. It keeps its place in the log; an encoder writes nothing for it."""

    attempt: int
    seq: int
    type: str
    item_id: str | None = None

    @property
    def ends_run(self) -> bool:
        return False


LogEvent: TypeAlias = RunEvent | UnknownEvent


def decode(row: Mapping[str, Any]) -> list[LogEvent]:
    """The events of one stored row {attempt, seq, type, item_id, data}: neighbouring deltas of an item share a row."""
    item_id = None if row["item_id"] is None else str(row["item_id"])
    attempt, seq, type_, data = row["attempt"], row["seq"], row["type"], row["data"]
    if not _is_known(type_):
        return [UnknownEvent(attempt, seq, type_, item_id)]
    if type_ != "item.delta":
        return [RunEvent(attempt, seq, type_, item_id, data)]
    channel = data["channel"]
    return [
        RunEvent(attempt, seq + nth, type_, item_id, {"channel": channel, "delta": delta})
        for nth, delta in enumerate(data["deltas"])
    ]


def _is_known(type_: str) -> TypeGuard[EventType]:
    return type_ in _KNOWN


class Cursor(NamedTuple):
    """A reader's place in a run: it has all up to event (attempt, seq), or that event's first `frame` + 1 frames."""

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
class Snapshot:
    """A thread as the committed log of one run shows it at a position.

    `open` holds the events of items that are not complete yet: their starts and their deltas so far.
    """

    attempt: int
    seq: int
    items: list[Item]
    open: list[RunEvent]
    state: Any

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        return cls(
            row["attempt"],
            row["seq"],
            [Item.from_row(item) for item in row["items"]],
            [e for part in row["open"] for e in decode(part) if isinstance(e, RunEvent)],
            row["state"],
        )
