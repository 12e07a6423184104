"""A run in the hands of this process: what it has said, what of that is committed, and what is still open."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from time import monotonic

from shared.core import Draft, Event, Json
from shared.runs.feed import Feed
from shared.runs.store import Leased

#: A holder that is this far behind stops reading the model, so that a stalled database costs no memory.
_BACKLOG_SECONDS = 2.0


class OpenItems:
    """The items a run has started and not finished, with the text they hold so far."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[Json, list[str]]] = {}

    def note(self, drafts: Sequence[Draft]) -> None:
        for type_, item_id, data in drafts:
            if item_id is None:
                continue
            if type_ == "item.delta":
                self._open[item_id][1].append(data["delta"])
            elif type_ == "item.started":
                self._open[item_id] = (data, [])
            else:
                self._open.pop(item_id, None)

    def __bool__(self) -> bool:
        return bool(self._open)

    def close(self, reason: str) -> list[Draft]:
        """Finish all of them: what was said stays, marked as incomplete; a call half written is taken back."""
        return [_close(item_id, *held, reason) for item_id, held in self._open.items()]


def _close(item_id: str, started: Json, deltas: list[str], reason: str) -> Draft:
    text, kind = "".join(deltas), started["kind"]
    if kind == "message" and text:
        item = {"role": "assistant", "content": text, "status": "incomplete"}
    elif kind == "reasoning" and text:
        item = {"text": text, "message_id": started["message_id"], "status": "incomplete"}
    else:
        return Draft("item.aborted", item_id, {"reason": reason})
    return Draft("item.completed", item_id, {"kind": kind, "item": item})


class DeadlineReached(Exception):
    """A run has had its time in this process, or the process stops."""


class LeaseLost(Exception):
    """Another process holds this run now; nothing more of it may be sent from here."""


class LiveRun:
    """A run this process holds: its numbered events, and how many of them Postgres has confirmed."""

    def __init__(self, leased: Leased) -> None:
        self.leased = leased
        self.feed = Feed(base=leased.base)
        self.feed.publish(leased.events)
        self.committed = leased.last_seq
        self.pending: list[Event] = []
        self.in_flight: list[Event] = []
        self.closes_at = 0
        self.is_urgent = False
        self.is_renewing = False
        self.cancel_asked = False
        self.is_lost = False
        self.has_ending = False
        self.next_run: str | None = None
        self.renewed_at = self.polled_at = leased.since
        self.behind_since = 0.0
        self.on_stop: Callable[[], object] | None = None
        #: From when on it is released at the end of a turn (`time.monotonic`).
        self.edges_at = float("inf")
        self.open = OpenItems()
        self._last = leased.last_seq
        self._unpublished: deque[tuple[Event, bool]] = deque()
        self._progress: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def stamp(self, drafts: Sequence[Draft], *, free: bool) -> int:
        """Number drafts and put them in line; `free` ones need no commit before they are seen. Returns the last seq."""
        if not self.pending and not self.in_flight:
            self.behind_since = monotonic()
        attempt, last = self.leased.attempt, self._last
        events = [Event(attempt, last + nth, *draft) for nth, draft in enumerate(drafts, 1)]
        self._last += len(events)
        self.pending += events
        self.has_ending = self.has_ending or any(event.ends_run for event in events)
        self.open.note(drafts)
        if free and not self._unpublished:
            self.feed.publish(events)
        else:
            self._unpublished += [(event, free) for event in events]
            self._publish()
        return self._last

    def _publish(self) -> None:
        news = []
        while self._unpublished and (
            self._unpublished[0][1] or self._unpublished[0][0].seq <= self.committed
        ):
            news.append(self._unpublished.popleft()[0])
        if news:
            self.feed.publish(news)

    def confirm(self, started_at: float) -> None:
        """What was in flight is in the log; the statement that says so began at `started_at`."""
        self.polled_at = started_at
        if self.is_renewing:
            self.renewed_at = started_at
        if self.in_flight:
            self.committed = self.in_flight[-1].seq
            self.in_flight = []
            self.behind_since = started_at
        self._publish()
        self._wake()

    @property
    def has_open_calls(self) -> bool:
        """Whether tools run for it: between turns there is a moment when none does."""
        return bool(self.open)

    @property
    def is_settled(self) -> bool:
        """Whether all it has said is in the log."""
        return self.committed >= self._last

    @property
    def is_over(self) -> bool:
        """Whether nothing of it is left to commit from here."""
        return self.is_settled or self.is_lost

    def lose(self) -> None:
        """Somebody else holds the run."""
        self.is_lost = True
        self.feed.close()
        self._wake()

    def _wake(self) -> None:
        self._progress.set_result(None)
        self._progress = asyncio.get_running_loop().create_future()

    async def progress(self) -> None:
        """Wait for the database's next answer.

        Raises:
            LeaseLost: it was that another process holds the run.
        """
        if not self.is_lost:
            await asyncio.shield(self._progress)
        if self.is_lost:
            raise LeaseLost

    def is_behind(self, silence: float) -> bool:
        """Whether it must not send: the lease may be gone, or the database does not keep up."""
        now = monotonic()
        if now - self.renewed_at > silence:
            return True
        return bool(self.pending or self.in_flight) and now - self.behind_since > _BACKLOG_SECONDS
