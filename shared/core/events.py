"""Native events: the log of a run, a place in it, and the state at a place."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from shared.core.errors import InvalidCursor
from shared.core.items import Item
from shared.core.json import Json

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
    """Events to send at once, or to commit first. `closes`: a turn is complete; a takeover resumes after this step."""

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
