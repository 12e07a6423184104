"""Follows runs: gives a client the events of a run after its cursor, whichever process holds the run.

A reader gets each event once and in the order of the log, and nothing after a gap. If its cursor is no longer valid (of
an older attempt, beyond the log, inside pruned deltas), it gets a snapshot and continues from there.
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
from shared.runs.keep_alive import KeepAlive
from shared.runs.results import RunView
from shared.runs.store import RunStore

#: A poll with at least this many rows may have left some out, so the next one follows at once. SQL has the same limit
#: per run.
_PAGE = 1000
#: The row of a poll for a run that no process holds.
_EXPIRED = "lease.expired"
#: And for one that was deleted.
_GONE = "run.gone"
#: The pause after an error.
_RETRY_SECONDS = 0.5
#: The position before the first event. A client that sends this cursor was cut off inside a snapshot, of which all
#: frames but the last have it.
_START = Cursor(0, 0)


class LogReader:
    """Follows runs: from memory if this process holds them, else with one poll per tick for all of them.

    `find_local` returns the feed of a run that this process holds. `recover` is called with each tick for every
    followed run that no process holds.
    """

    def __init__(
        self,
        store: RunStore,
        database: Database,
        find_local: Callable[[str], Feed | None],
        recover: Callable[[str], None],
        *,
        tick: float,
        keep_alive: float,
    ) -> None:
        self._store = store
        self._database = database
        self._find_local = find_local
        self._recover = recover
        self._tick = tick
        self._keep_alive = KeepAlive(keep_alive)
        self._wake = asyncio.Event()
        self._remote: dict[tuple[str, int], Feed] = {}
        self._is_stopping = False

    async def follow(
        self,
        claims: Json,
        view: RunView,
        cursor: Cursor | None,
        *,
        starts_with_snapshot: bool = False,
    ) -> AsyncGenerator[list[LogEvent] | Snapshot, None]:
        """The events after the cursor: first those that exist, then new ones as they come.

        An empty list is a keep-alive. A snapshot comes if the cursor is no longer valid, and first of all if
        `starts_with_snapshot`. The user's right to the run was checked when `view` was read.

        Raises:
            RunNotFound: the run was deleted.
        """
        view, position = (
            (view, None) if starts_with_snapshot else await self._resolve(claims, view, cursor)
        )
        # `run.queued` makes no frame, so a cursor of attempt 0 is from a snapshot of a waiting run. (Or from the end of
        # a leg, and then a needless snapshot does no harm.)
        has_snapshot = cursor is not None and cursor.attempt == 0 and cursor.seq > 0
        while not self._is_stopping:
            if position is None:
                if (snapshot := await self._snapshot(claims, view.run_id)) is None:
                    yield []
                    continue
                yield snapshot
                has_snapshot = True
                position = Cursor(snapshot.attempt, snapshot.seq)
            if view.has_ended and position.seq >= view.last_seq:
                return
            with self._feed(view.run_id, position) as feed:
                async for news in feed.after(position.seq, self._keep_alive):
                    usable = _until_snapshot_needed(
                        news, position.attempt, has_snapshot=has_snapshot
                    )
                    if usable or not news:
                        yield usable
                    if usable:
                        position = Cursor(usable[-1].attempt, usable[-1].seq)
                    if len(usable) < len(news):
                        position = None
                        break
                if position is not None and feed.has_ended:
                    return
            # A feed that closed before the ending had a gap or lost its run, so its last events may not be in the log.
            position = None

    async def _snapshot(self, claims: Json, run_id: str) -> Snapshot | None:
        """The thread as the log shows it now; None, after a pause, if Postgres is away."""
        try:
            return await self._store.snapshot(claims, run_id)
        except Unavailable:
            await asyncio.sleep(_RETRY_SECONDS)
            return None

    async def _resolve(
        self, claims: Json, view: RunView, cursor: Cursor | None
    ) -> tuple[RunView, Cursor | None]:
        """The run as it is now, and the position from which to continue. None: the reader needs a snapshot."""
        if cursor is None:
            return view, None if view.is_pruned else _START
        if cursor.attempt != view.attempt or cursor == _START:
            return view, None
        if cursor.seq > self._last_known_seq(view):
            # The holder has shown these events, and commits them with its next tick or never.
            await asyncio.sleep(self._tick)
            with suppress(Unavailable):
                view = await self._store.find(claims, client_run_id=view.client_run_id)
            if cursor.attempt != view.attempt or cursor.seq > self._last_known_seq(view):
                return view, None
        # If the client has only some of an event's frames, the event is read again, and the encoder skips these frames.
        return view, cursor if cursor.frame is None else Cursor(cursor.attempt, cursor.seq - 1)

    def _last_known_seq(self, view: RunView) -> int:
        # The feed of a run that this process holds may be ahead of the log. One that lost its run does not count.
        feed = self._find_local(view.run_id)
        is_usable = feed and (feed.has_ended or not feed.is_closed) and feed.attempt == view.attempt
        return max(view.last_seq, feed.last_seq) if feed and is_usable else view.last_seq

    @contextmanager
    def _feed(self, run_id: str, position: Cursor) -> Iterator[Feed]:
        local, seq = self._find_local(run_id), position.seq
        if local and _can_serve(local, position):
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
        """End the streams of all readers, because this process stops.

        Local feeds end when their runs end or are released.
        """
        self._is_stopping = True
        for feed in self._remote.values():
            feed.close()

    async def run(self) -> None:
        """Poll for the followed runs that this process does not hold, until cancelled. Waits while there are none."""
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
                logger.exception("run_log.poll_failed")
                await asyncio.sleep(_RETRY_SECONDS)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._tick):
                    await self._wake.wait()

    async def _poll(self) -> bool:
        """One query for all feeds. Returns whether it may have left rows out."""
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
            run_rows = news[nth]
            types = {row["type"] for row in run_rows}
            if _EXPIRED in types:
                self._recover(run_id)
            if _GONE in types:
                # Its readers request a snapshot, and get RunNotFound.
                feed.close()
            _publish(feed, [row for row in run_rows if row["type"] not in (_EXPIRED, _GONE)])
        return len(rows) >= _PAGE


def _can_serve(local: Feed, position: Cursor) -> bool:
    """Whether this process has the events after a reader's position, in the feed of a run that it holds."""
    # A feed that closed before an ending has lost the run: another process has the events now. So has a feed of an
    # older attempt than the reader's, though this process may not know it yet.
    has_lost_run = local.is_closed and not local.has_ended
    is_of_older_attempt = 0 < local.attempt < position.attempt
    return not (has_lost_run or is_of_older_attempt) and local.base <= position.seq


def _publish(feed: Feed, rows: Sequence[Mapping[str, Any]]) -> None:
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
    """The events before the first that needs a snapshot: one of another attempt, or one that takes an item back.

    A reader that got a snapshot while its run waited needs another one when the run starts: items of the run before it
    may have been taken back meanwhile.
    """
    for nth, event in enumerate(news):
        is_other = event.attempt != attempt and bool(attempt or has_snapshot)
        if is_other or event.type == "item.aborted":
            return news[:nth]
        attempt = event.attempt
    return news
