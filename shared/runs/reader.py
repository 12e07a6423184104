"""The reading end of the log: follow a run from any cursor, whichever process holds it.

A reader never skips, repeats or reorders. It gets events in the order of the log and stops at a gap. If its cursor has
become meaningless (an older attempt, beyond the log, inside pruned deltas), it gets a snapshot and continues from that.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import orjson

from shared.core import Cursor, Json, LogEvent, Snapshot, Unavailable, decode, logger
from shared.database import Database
from shared.runs.feed import Feed
from shared.runs.results import RunView
from shared.runs.store import RunStore

#: Rows of one poll; while more wait, the next poll follows at once.
_PAGE = 1000
#: The row of a poll for a run that no process holds.
_EXPIRED = "lease.expired"
#: And for one that was deleted.
_GONE = "run.gone"
_TROUBLE_SECONDS = 0.5
#: The cursor of a reader that has no whole event: it was cut off inside a snapshot.
_NOTHING = Cursor(0, 0)


class LogReader:
    """Follows runs: from memory when this process holds them, else by one poll for all of them per tick.

    `local` finds the events of a run that this process holds. `recover` is called with each tick for every followed
    run that no process holds.
    """

    def __init__(
        self,
        store: RunStore,
        database: Database,
        local: Callable[[str], Feed | None],
        recover: Callable[[str], None],
        *,
        tick: float,
        keep_alive: float,
    ) -> None:
        self._store = store
        self._database = database
        self._local = local
        self._recover = recover
        self._tick = tick
        self._keep_alive = keep_alive
        self._wake = asyncio.Event()
        self._remote: dict[tuple[str, int], Feed] = {}
        self._is_stopping = False

    async def follow(
        self, claims: Json, view: RunView, cursor: Cursor | None, *, afresh: bool = False
    ) -> AsyncGenerator[list[LogEvent] | Snapshot, None]:
        """Events behind the cursor, and then as they come.

        An empty list is a keep-alive. A Snapshot comes when the cursor has become meaningless, and first of all if
        `afresh`. The user's right to the run was checked when `view` was read.

        Raises:
            RunNotFound: the run was deleted.
        """
        view, place = (view, None) if afresh else await self._place(claims, view, cursor)
        # A cursor of attempt 0 comes from a snapshot: the run had not started.
        has_snapshot = cursor is not None and cursor.attempt == 0 and cursor.seq > 0
        while not self._is_stopping:
            if place is None:
                if (snapshot := await self._snapshot(claims, view.run_id)) is None:
                    yield []
                    continue
                yield snapshot
                has_snapshot = True
                place = Cursor(snapshot.attempt, snapshot.seq)
            if view.has_ended and place.seq >= view.last_seq:
                return
            with self._feed(view.run_id, place) as feed:
                async for news in feed.after(place.seq, self._keep_alive):
                    usable = _until_snapshot_needed(news, place.attempt, has_snapshot=has_snapshot)
                    if usable or not news:
                        yield usable
                    if usable:
                        place = Cursor(usable[-1].attempt, usable[-1].seq)
                    if len(usable) < len(news):
                        place = None
                        break
                if place is not None and feed.has_ended:
                    return
            # A feed that closed before the ending had a gap, or lost its run: its last events may not be in the log.
            place = None

    async def _snapshot(self, claims: Json, run_id: str) -> Snapshot | None:
        """The thread as the log shows it now; None, after a pause, if Postgres is away."""
        try:
            return await self._store.snapshot(claims, run_id)
        except Unavailable:
            await asyncio.sleep(_TROUBLE_SECONDS)
            return None

    async def _place(
        self, claims: Json, view: RunView, cursor: Cursor | None
    ) -> tuple[RunView, Cursor | None]:
        """The run, and the place to continue from; None if the reader needs a snapshot."""
        if cursor is None:
            return view, None if view.pruned else Cursor(0, 0)
        if cursor.attempt != view.attempt or cursor == _NOTHING:
            return view, None
        if cursor.seq > self._known(view):
            # The holder showed it, and commits it with the next tick, or never.
            await asyncio.sleep(self._tick)
            with suppress(Unavailable):
                view = await self._store.find(claims, client_run_id=view.client_run_id)
            if cursor.attempt != view.attempt or cursor.seq > self._known(view):
                return view, None
        # Part of an event's frames: the event is read again, and the encoder skips the frames the client has.
        return view, cursor if cursor.frame is None else Cursor(cursor.attempt, cursor.seq - 1)

    def _known(self, view: RunView) -> int:
        # A run of this process may be ahead of its log, but not if its feed lost the run or is of another attempt.
        feed = self._local(view.run_id)
        is_usable = feed and (feed.has_ended or not feed.is_closed) and feed.attempt == view.attempt
        return max(view.last_seq, feed.last_seq) if feed and is_usable else view.last_seq

    @contextmanager
    def _feed(self, run_id: str, place: Cursor) -> Iterator[Feed]:
        local, seq = self._local(run_id), place.seq
        # A local feed that closed before an ending has lost the run. So has one of an older attempt than the reader's,
        # though its process may not know that yet. Another process has the events now.
        is_usable = local and (local.has_ended or not local.is_closed)
        if local and is_usable and local.base <= seq and not 0 < local.attempt < place.attempt:
            yield local
            return
        feed = self._remote.setdefault((run_id, seq), Feed(base=seq))
        feed.followers += 1
        self._wake.set()
        try:
            yield feed
        finally:
            feed.followers -= 1
            if not feed.followers:
                self._remote.pop((run_id, seq), None)

    def close(self) -> None:
        """End every reader's stream: this process stops."""
        self._is_stopping = True
        for feed in self._remote.values():
            feed.close()

    async def run(self) -> None:
        """Poll for followed runs that other processes hold, until cancelled. Rests while there are none."""
        while True:
            if not self._remote:
                self._wake.clear()
                await self._wake.wait()
            self._wake.clear()
            try:
                if await self._poll():
                    continue
            except Unavailable:
                pass
            except Exception:
                # After any error, readers get their events with a later poll.
                logger.exception("log.poll_failed")
                await asyncio.sleep(_TROUBLE_SECONDS)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._tick):
                    await self._wake.wait()

    async def _poll(self) -> bool:
        """One query for all feeds. Returns whether the page was full, so that more rows wait."""
        feeds = dict(self._remote)
        wanted = [
            {"reader": nth, "run_id": run_id, "after": feed.last_seq}
            for nth, ((run_id, _), feed) in enumerate(feeds.items())
        ]
        rows = await self._database.rows("poll_runs", wanted)
        news: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
        for row in rows:
            news[row["reader"]].append(row)
        for nth, ((run_id, _), feed) in enumerate(feeds.items()):
            mine = news[nth]
            types = {row["type"] for row in mine}
            if _EXPIRED in types:
                self._recover(run_id)
            if _GONE in types:
                # Its readers look the run up, and get RunNotFound.
                feed.close()
            _take(feed, [row for row in mine if row["type"] not in (_EXPIRED, _GONE)])
        return len(rows) >= _PAGE


def _take(feed: Feed, rows: Sequence[Mapping[str, Any]]) -> None:
    last, news = feed.last_seq, []
    for row in rows:
        for event in decode({**row, "data": orjson.loads(row["data"])}):
            if event.seq == last + 1:
                news.append(event)
                last = event.seq
            elif event.seq > last:
                feed.has_gap = True
    if news:
        feed.publish(news)
    if feed.has_gap:
        feed.close()


def _until_snapshot_needed(
    news: list[LogEvent], attempt: int, *, has_snapshot: bool
) -> list[LogEvent]:
    """The events up to the first that needs a snapshot: one of another attempt, or an item that is taken back.

    A reader that got a snapshot while its run waited needs another one when the run starts: items of the run before it
    may have been taken back since.
    """
    for place, event in enumerate(news):
        is_other = event.attempt != attempt and bool(attempt or has_snapshot)
        if is_other or event.type == "item.aborted":
            return news[:place]
        attempt = event.attempt
    return news
