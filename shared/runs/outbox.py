"""The events of one attempt on their way to the log: numbered, shown to readers, appended, confirmed."""

from collections import deque
from collections.abc import Sequence
from time import monotonic

from shared.core import Draft, Json, RunEvent
from shared.runs.feed import Feed
from shared.runs.results import Leased

#: An attempt whose oldest unconfirmed event is older stops reading the model: a stalled database costs no memory.
_BACKLOG_SECONDS = 2.0


class Outbox:
    """Numbers events, and publishes each when it may be seen: at once, or when the log has it.

    One append is in flight at a time; what it carried is either confirmed or put back.
    """

    def __init__(self, leased: Leased, feed: Feed) -> None:
        self.open_items = OpenItems()
        self.has_ending = False
        #: Where the committed log ends.
        self.committed = leased.last_seq
        self._attempt = leased.attempt
        self._last = leased.last_seq
        self._feed = feed
        self._pending: list[RunEvent] = []
        self._in_flight: list[RunEvent] = []
        #: Events behind one that readers may not see yet, each with whether it may be seen uncommitted.
        self._unpublished: deque[tuple[RunEvent, bool]] = deque()
        self._behind_since = 0.0

    @property
    def pending_events(self) -> int:
        """How many events wait for the next append."""
        return len(self._pending)

    @property
    def is_settled(self) -> bool:
        """Whether every event is in the log."""
        return self.committed >= self._last

    def is_behind(self, now: float) -> bool:
        """Whether the database does not keep up with this attempt's events."""
        is_waiting = bool(self._pending or self._in_flight)
        return is_waiting and now - self._behind_since > _BACKLOG_SECONDS

    def add(self, drafts: Sequence[Draft], *, show_now: bool) -> int:
        """Number events and queue them for the log. Returns the last one's number.

        `show_now`: readers may see them before they are committed.
        """
        if not self._pending and not self._in_flight:
            self._behind_since = monotonic()
        attempt, last = self._attempt, self._last
        events = [RunEvent(attempt, last + nth, *draft) for nth, draft in enumerate(drafts, 1)]
        self._last += len(events)
        self._pending += events
        self.has_ending = self.has_ending or any(event.ends_run for event in events)
        self.open_items.note(drafts)
        if show_now and not self._unpublished:
            self._feed.publish(events)
        else:
            self._unpublished += [(event, show_now) for event in events]
            self._publish()
        return self._last

    def take(self) -> list[RunEvent]:
        """The pending events, which are in flight from now on."""
        self._in_flight, self._pending = self._pending, []
        return self._in_flight

    def put_back(self) -> None:
        """Append what is in flight again: whether the log has it is not known, and its numbers make that harmless."""
        self._pending = self._in_flight + self._pending
        self._in_flight = []

    def confirm(self, started_at: float) -> None:
        """Note that the log has what was in flight; its statement began at `started_at`."""
        if self._in_flight:
            self.committed = self._in_flight[-1].seq
            self._in_flight = []
            self._behind_since = started_at
        self._publish()

    def _publish(self) -> None:
        visible = []
        while self._unpublished and (
            self._unpublished[0][1] or self._unpublished[0][0].seq <= self.committed
        ):
            visible.append(self._unpublished.popleft()[0])
        if visible:
            self._feed.publish(visible)


class OpenItems:
    """The items an attempt has started and not finished, with the text they hold so far."""

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
        """The events that finish all of them: text stays, marked incomplete; a half-written call is taken back."""
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
