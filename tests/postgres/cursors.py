"""The reference for readers: the meaning of a place in a run's log, and a client that checks its reader against it."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from shared.core.events import Cursor, LogEvent, RunEvent, Snapshot
from shared.core.json import Json
from shared.core.settings import Settings
from shared.database.pool import Database
from shared.runs.live import LiveRun
from shared.runs.reader import LogReader
from shared.runs.store import RunStore
from shared.runs.writer import LogWriter

#: By attempt: the whole log of its holder, committed or not. All cursors of the attempt refer to it.
HolderLogs = Mapping[int, Sequence[LogEvent]]
_MOST_ROUNDS = 8


@dataclass(frozen=True)
class Shown:
    """What a client shows of a run: each item's text and whether it is complete, and whether the run is over."""

    items: Mapping[str, tuple[str, bool]] = field(default_factory=dict)
    is_over: bool = False

    def after(self, event: LogEvent) -> "Shown":
        """The state after the event."""
        assert isinstance(event, RunEvent)
        items, name = dict(self.items), event.item_id or ""
        match event.type:
            case "item.started":
                items[name] = ("", False)
            case "item.delta":
                items[name] = (items[name][0] + event.data["delta"], False)
            case "item.completed":
                items[name] = (event.data["item"]["content"], True)
            case "item.aborted":
                del items[name]
        return Shown(items, event.ends_run)


def shown_by(events: Sequence[LogEvent]) -> Shown:
    """The state after all events."""
    shown = Shown()
    for event in events:
        shown = shown.after(event)
    return shown


def shown_in(snapshot: Snapshot) -> Shown:
    """The state of the assistant's items in a snapshot."""
    answered = [item for item in snapshot.items if item.data.get("role") == "assistant"]
    complete = Shown({item.key: (item.data["content"], True) for item in answered})
    return replace(
        shown_by(snapshot.open), items={**complete.items, **shown_by(snapshot.open).items}
    )


class Process:
    """The parts of a process that hold and follow runs, without clocks: a test ticks and polls."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self.runs = RunStore(database, settings)
        self.journal = LogWriter(database, settings)
        # A keep-alive of zero: a reader without news returns an empty part at once.
        self.follow = LogReader(
            self.runs,
            database,
            self.journal.feed,
            # The play decides whether another process takes the run.
            recover=lambda run_id: None,
            tick=settings.tick_seconds,
            keep_alive=0,
        )
        self.live: LiveRun | None = None

    async def poll(self) -> None:
        while await self.follow._poll():
            pass

    def forget(self) -> None:
        """Stop holding the run."""
        if self.live:
            self.journal.close(self.live)
            self.live = None


@dataclass
class Seen:
    """A moment of a client: the cursor with which it could resume, and its state then and just before."""

    cursor: Cursor | None
    shown: Shown
    before: Shown | None = None


class Client:
    """Reads one run as a client does, and fails at the first part that does not continue its state."""

    def __init__(self, holder_logs: HolderLogs) -> None:
        self._holder_logs = holder_logs
        self._parts: AsyncGenerator[list[LogEvent] | Snapshot, None] | None = None
        self.process: Process | None = None
        self.history = [Seen(None, Shown())]
        self.place = Cursor(0, 0)
        #: None: it attached with an invented cursor, and can only take a snapshot.
        self.shown: Shown | None = Shown()
        self.has_all = False

    async def attach(
        self, process: Process, claims: Json, run: str, cursor: Cursor | None, **how: bool
    ) -> None:
        """Start a leg at a process."""
        self.process, self.has_all = process, False
        view = await process.runs.find(claims, client_run_id=run)
        self._parts = process.follow.follow(claims, view, cursor, **how)

    async def detach(self) -> None:
        """Disconnect."""
        if self._parts:
            await self._parts.aclose()
        self._parts = self.process = None

    def go_back(self, nth: int, *, in_frames: bool) -> Cursor | None:
        """Go back to an earlier moment. `in_frames`: to inside the frames of its last event, which is then missing."""
        seen = self.history[nth % len(self.history)]
        cursor, self.shown = seen.cursor, seen.shown
        self.place = cursor or Cursor(0, 0)
        if in_frames and cursor and seen.before is not None:
            self.shown, self.place = seen.before, Cursor(cursor.attempt, cursor.seq - 1)
            cursor = Cursor(cursor.attempt, cursor.seq, 0)
        return cursor

    def pretend(self, cursor: Cursor, known: Sequence[LogEvent]) -> None:
        """Take any cursor. Beyond the known log the client has no state to which events could be added."""
        self.place = cursor
        self.shown = shown_by(known[: cursor.seq]) if cursor.seq <= len(known) else None

    async def read_on(self) -> None:
        """Read all parts, and poll until no more come."""
        for _ in range(_MOST_ROUNDS):
            before = len(self.history)
            await self.read()
            if self.process:
                await self.process.poll()
            await self.read()
            if self.has_all or len(self.history) == before:
                return
        raise AssertionError("the parts do not end")

    async def read(self) -> None:
        """Read all parts that are available."""
        snapshots = 0
        while (part := await self.next()) != []:
            if part is None:
                return
            snapshots += isinstance(part, Snapshot)
            assert snapshots < 5, "snapshots repeat without events after them"

    async def next(self) -> list[LogEvent] | Snapshot | None:
        """Read one part: an empty one when there is no news, None at the end."""
        assert self._parts
        part = await anext(self._parts, None)
        if isinstance(part, Snapshot):
            self._take_snapshot(part)
        for event in part if isinstance(part, list) else ():
            self._take(event)
        self.has_all = part is None
        return part

    def _take_snapshot(self, snapshot: Snapshot) -> None:
        self.place = Cursor(snapshot.attempt, snapshot.seq)
        self.shown = shown_in(snapshot)
        self._check(None)

    def _take(self, event: LogEvent) -> None:
        before = self.shown
        assert before is not None, "events for a client without a state to add them to"
        assert event.seq == self.place.seq + 1
        assert self.place.attempt in (0, event.attempt)
        assert event.type != "item.aborted", "only a snapshot withdraws items"
        self.place = Cursor(event.attempt, event.seq)
        self.shown = before.after(event)
        self._check(before)

    def _check(self, before: Shown | None) -> None:
        assert self.shown is not None
        expected = shown_by(self._holder_logs[self.place.attempt][: self.place.seq])
        assert self.shown == expected, self.place
        self.history.append(Seen(self.place, self.shown, before))
