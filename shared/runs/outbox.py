"""The events of one attempt until the log has them: numbered, shown to readers, appended, confirmed."""

from collections import deque
from collections.abc import Sequence
from time import monotonic
from typing import NamedTuple

from shared.core import Draft, Json, RunEvent
from shared.runs.feed import Feed
from shared.runs.results import Leased

#: An attempt whose oldest unconfirmed event is older waits before it sends more, which bounds the memory that events
#: take while the database does not answer.
_BACKLOG_SECONDS = 2.0


class Unpublished(NamedTuple):
    """An event that no reader has seen, and whether readers may see it before it is committed."""

    event: RunEvent
    show_now: bool


class Outbox:
    """Numbers an attempt's events, queues them for the log, and publishes each one when readers may see it.

    Some events may be seen at once, others when the log has them. One append is in flight at a time; its events are
    either confirmed or put back.
    """

    def __init__(self, leased: Leased, feed: Feed) -> None:
        self.open_items = OpenItems()
        self.has_ending = False
        #: Where the committed log ends.
        self.committed_seq = leased.last_seq
        self._attempt = leased.attempt
        self._last_seq = leased.last_seq
        self._feed = feed
        self._pending: list[RunEvent] = []
        self._in_flight: list[RunEvent] = []
        #: In order. The first one waits for its commit, and all others wait for the first one.
        self._unpublished: deque[Unpublished] = deque()
        self._backlog_since = 0.0

    @property
    def pending_events(self) -> int:
        """How many events wait for the next append."""
        return len(self._pending)

    @property
    def is_settled(self) -> bool:
        """Whether every event is in the log."""
        return self.committed_seq >= self._last_seq

    def has_backlog(self, now: float) -> bool:
        """Whether the database does not keep up with this attempt's events."""
        has_unconfirmed = bool(self._pending or self._in_flight)
        return has_unconfirmed and now - self._backlog_since > _BACKLOG_SECONDS

    def add(self, drafts: Sequence[Draft], *, show_now: bool) -> int:
        """Number events and queue them for the log. Returns the last one's number.

        `show_now`: readers may see them before they are committed.
        """
        if not self._pending and not self._in_flight:
            self._backlog_since = monotonic()
        attempt, last = self._attempt, self._last_seq
        events = [RunEvent(attempt, last + nth, *draft) for nth, draft in enumerate(drafts, 1)]
        self._last_seq += len(events)
        self._pending += events
        self.has_ending = self.has_ending or any(event.ends_run for event in events)
        self.open_items.note(drafts)
        if show_now and not self._unpublished:
            self._feed.publish(events)
        else:
            self._unpublished += [Unpublished(event, show_now) for event in events]
            self._publish()
        return self._last_seq

    def take_pending(self) -> list[RunEvent]:
        """Take the pending events for an append: they are in flight from now on."""
        self._in_flight, self._pending = self._pending, []
        return self._in_flight

    def put_back(self) -> None:
        """Have the next append repeat what is in flight. The log may have it already, and skips it then."""
        self._pending = self._in_flight + self._pending
        self._in_flight = []

    def confirm(self, started_at: float) -> None:
        """Note that the log has what was in flight; its statement began at `started_at`."""
        if self._in_flight:
            self.committed_seq = self._in_flight[-1].seq
            self._in_flight = []
            self._backlog_since = started_at
        self._publish()

    def _publish(self) -> None:
        visible = []
        while self._unpublished and self._is_visible(self._unpublished[0]):
            visible.append(self._unpublished.popleft().event)
        if visible:
            self._feed.publish(visible)

    def _is_visible(self, first: Unpublished) -> bool:
        return first.show_now or first.event.seq <= self.committed_seq


class OpenItems:
    """The items that an attempt has started and not finished, with their text so far."""

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
        """The events that finish all of them. Text stays, marked as incomplete; a call is taken back."""
        return [
            _close(item_id, started, deltas, reason)
            for item_id, (started, deltas) in self._open.items()
        ]


def _close(item_id: str, started: Json, deltas: list[str], reason: str) -> Draft:
    text, kind = "".join(deltas), started["kind"]
    if kind == "message" and text:
        item = {"role": "assistant", "content": text, "status": "incomplete"}
    elif kind == "reasoning" and text:
        item = {"text": text, "message_id": started["message_id"], "status": "incomplete"}
    else:
        return Draft("item.aborted", item_id, {"reason": reason})
    return Draft("item.completed", item_id, {"kind": kind, "item": item})
