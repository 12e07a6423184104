"""One client's state of one run, as an AG-UI client builds it, and what it must never see."""

from dataclasses import dataclass, field
from time import time

from shared.core.json import Json

_STARTS = {"TEXT_MESSAGE_START": "messageId", "TOOL_CALL_START": "toolCallId"}
_ENDS = {"TEXT_MESSAGE_END": "messageId", "TOOL_CALL_END": "toolCallId"}
_ENDINGS = ("RUN_FINISHED", "RUN_ERROR")
#: The cursor of a snapshot that is not whole yet.
NOWHERE = "0.0"
Place = tuple[int, int, float]


def place_of(cursor: str) -> Place:
    """A cursor, to be compared: the last frame of an event has no number of its own."""
    attempt, seq, *frame = cursor.split(".")
    return int(attempt), int(seq), float(frame[0]) if frame else float("inf")


@dataclass
class Seen:
    """A piece of text as it came: when, and at which place of the log."""

    at: float
    attempt: int
    seq: int
    delta: str


@dataclass
class View:
    """The state of a client. `broken` describes what it must not see, `repeated` what came twice."""

    run: str
    texts: dict[str, str] = field(default_factory=dict)
    results: dict[str, str] = field(default_factory=dict)
    cursor: str = ""
    ending: Json | None = None
    broken: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    #: How each of its legs started.
    way: str = ""
    _open: set[str] = field(default_factory=set)

    def reconnect(self, how: str) -> None:
        """Start a new leg."""
        self.way += f" {how}"

    def take(self, frame: Json, cursor: str | None) -> None:
        """Apply one frame."""
        kind = frame["type"]
        if self.ending is not None:
            self.broken.append(f"{kind} after the end")
        if cursor:
            self._check_place(kind, cursor)
            self.cursor = cursor
        if kind == "MESSAGES_SNAPSHOT":
            self._reset(frame["messages"])
        elif kind in _STARTS:
            self._start(frame[_STARTS[kind]])
        elif kind in _ENDS:
            self._end(frame[_ENDS[kind]])
        elif kind == "TEXT_MESSAGE_CONTENT":
            self._say(frame, cursor or "")
        elif kind == "TOOL_CALL_RESULT":
            self.results[frame["toolCallId"]] = frame["content"]
        elif kind in _ENDINGS:
            self._finish(frame)

    def _check_place(self, kind: str, cursor: str) -> None:
        # A snapshot may be older than what was shown: it replaces everything.
        is_snapshot = cursor == NOWHERE or self.cursor == NOWHERE
        if self.cursor and place_of(cursor) <= place_of(self.cursor) and not is_snapshot:
            self.repeated.append(f"{kind} at {cursor} after {self.cursor}")

    def _reset(self, messages: list[Json]) -> None:
        self._open = set()
        self.texts = {m["id"]: m.get("content") or "" for m in messages if m["role"] == "assistant"}
        self.results = {m["toolCallId"]: m["content"] for m in messages if m["role"] == "tool"}

    def _start(self, id_: str) -> None:
        if id_ in self._open:
            self.broken.append("a start of what is open")
        self._open.add(id_)

    def _end(self, id_: str) -> None:
        if id_ not in self._open:
            self.broken.append("an end of what is not open")
        self._open.discard(id_)

    def _say(self, frame: Json, cursor: str) -> None:
        id_, delta = frame["messageId"], frame["delta"]
        if id_ not in self._open:
            self.broken.append("text for what is not open")
        self.texts[id_] = self.texts.get(id_, "") + delta
        attempt, seq, _ = place_of(cursor)
        self.seen.append(Seen(time(), attempt, seq, delta))

    def _finish(self, frame: Json) -> None:
        if self._open and frame["type"] == "RUN_FINISHED":
            self.broken.append("an end with something open")
        self.ending = frame
