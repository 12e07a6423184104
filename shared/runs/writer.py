"""Commits the events of all runs that this process holds: those of many runs in one statement.

An event with a consequence is committed before anything follows from it (`LiveRun.commit`). Text is shown at once and
committed with the next tick, for all runs together (`LiveRun.send`). Only a run's holder appends to its log. An append
whose result was lost is sent again: events have numbers, and Postgres skips those that the log has.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from time import monotonic
from typing import Any

from shared.core import ENDINGS, RunEvent, RunSettings, Unavailable, logger, measure
from shared.database import Database
from shared.runs.feed import Feed
from shared.runs.live import LiveRun
from shared.runs.results import Leased, ids_of

#: A quiet run asks this often whether it was cancelled.
_POLL_SECONDS = 1.0


class LogWriter:
    """Appends events and renews leases, for all runs of this process: one statement at a time, and one per tick.

    A commit that a run waits for does not wait for the tick.
    """

    def __init__(self, database: Database, settings: RunSettings) -> None:
        self._database = database
        self._tick = settings.tick_seconds
        self._renew = settings.lease_renew_seconds
        self._lease = settings.lease_seconds
        self._max_unrenewed = settings.lease_seconds * 2 / 3
        self._wake = asyncio.Event()
        self._ticked_at = monotonic()
        self._writing = asyncio.Lock()
        self._live: dict[str, LiveRun] = {}

    def open(self, leased: Leased) -> LiveRun:
        """Start to commit the events of a run that was leased to this process, and to renew its lease."""
        live = self._live[leased.run_id] = LiveRun(
            leased, commit_soon=self._wake.set, max_unrenewed_seconds=self._max_unrenewed
        )
        measure("agent.run.live", 1)
        self._wake.set()
        return live

    def close(self, live: LiveRun) -> None:
        """Stop that: the run has ended, or this process does not hold it any more."""
        live.feed.close()
        if self._live.get(live.leased.run_id) is live:
            del self._live[live.leased.run_id]
            measure("agent.run.live", -1)

    def live_run(self, run_id: str) -> LiveRun | None:
        """The run, if this process holds it."""
        return self._live.get(run_id)

    def live_runs(self) -> list[LiveRun]:
        """All runs that this process holds."""
        return list(self._live.values())

    def feed(self, run_id: str) -> Feed | None:
        """The events of a run, if this process holds it."""
        live = self._live.get(run_id)
        return live.feed if live else None

    async def run(self) -> None:
        """Commit until cancelled."""
        while True:
            await self._next_tick()
            if due := self._take_due(monotonic()):
                try:
                    await self.flush(due)
                except Exception:
                    # The next statements must not depend on this one.
                    logger.exception("run_log.write_failed")

    async def flush(self, due: Sequence[LiveRun]) -> None:
        """Append the pending events of these runs, after any other append: one per run may be in flight."""
        async with self._writing:
            await self._flush(due)

    async def release(self, runs: Sequence[LiveRun]) -> None:
        """Commit what runs sent and release their leases. Repeated until Postgres has done both.

        A repeated release does nothing, because it names the lease's token. Afterwards, `waiting_run_id` of each run
        is its own id, unless it ended.
        """
        # Runs that are released, settled or dropped need nothing more.
        unfinished = list(runs)
        while unfinished:
            with suppress(Unavailable):
                await self._release(unfinished)
                unfinished = [
                    live
                    for live in unfinished
                    if live.has_ending and not (live.is_settled or live.is_dropped)
                ]
            if unfinished:
                await asyncio.sleep(self._tick)

    async def _release(self, runs: Sequence[LiveRun]) -> None:
        async with self._writing:
            if pending := [live for live in runs if live.pending_events and not live.is_dropped]:
                await self._flush(pending)
            unended = [live for live in runs if not live.has_ending and not live.is_dropped]
            leases = [{"run_id": run.leased.run_id, "token": run.leased.token} for run in unended]
            if leases:
                await self._database.call("release_runs", leases)
            for live in unended:
                live.waiting_run_id = live.leased.run_id

    async def _next_tick(self) -> None:
        if any(live.is_urgent for live in self._live.values()):
            return
        self._wake.clear()
        left = max(0.0, self._ticked_at + self._tick - monotonic())
        with suppress(TimeoutError):
            async with asyncio.timeout(left if self._live else None):
                await self._wake.wait()

    def _take_due(self, now: float) -> list[LiveRun]:
        # All runs of the process share one tick, so that the number of statements does not grow with that of runs.
        is_tick = now - self._ticked_at >= self._tick
        if is_tick:
            self._ticked_at = now
        return [
            live
            for live in self._live.values()
            if live.is_urgent or (is_tick and live.wants_tick(now, _POLL_SECONDS))
        ]

    async def _flush(self, due: Sequence[LiveRun]) -> None:
        batch = [self._entry(live) for live in due]
        started_at = monotonic()
        try:
            rows = await self._database.rows("append_events", batch)
        except Unavailable:
            _put_back(due)
            await asyncio.sleep(self._tick)
        except Exception:
            _put_back(due)
            await self._flush_one_by_one(due)
        else:
            results = {str(row["run_id"]): row for row in rows}
            for live in due:
                _apply_result(live, results[live.leased.run_id], started_at)

    async def _flush_one_by_one(self, due: Sequence[LiveRun]) -> None:
        # One bad run must not fail the others: each gets its own statement, and this process drops the one that fails.
        if len(due) == 1:
            logger.exception("run.unwritable", extra=ids_of(due[0].leased))
            _drop(due[0])
            return
        for live in due:
            await self._flush([live])

    def _entry(self, live: LiveRun) -> dict[str, Any]:
        events, renews, closes_turn = live.take_events(self._renew)
        last = events[-1].type if events else None
        return {
            "run_id": live.leased.run_id,
            "token": live.leased.token,
            "seconds": self._lease if renews else None,
            "rows": _rows(events),
            "closes": closes_turn,
            "ending": last if last in ENDINGS else None,
        }


def _put_back(due: Sequence[LiveRun]) -> None:
    for live in due:
        live.put_back()


def _apply_result(live: LiveRun, result: Any, started_at: float) -> None:
    match result["verdict"]:
        case "busy":
            live.put_back()
        case "lost":
            _drop(live)
        case verdict:
            if result["next_queued_run"]:
                live.waiting_run_id = str(result["next_queued_run"])
            live.confirm(started_at)
            if verdict == "cancel":
                live.cancel()


def _drop(live: LiveRun) -> None:
    measure("agent.lease.losses", 1)
    live.drop()


def _rows(events: Sequence[RunEvent]) -> list[dict[str, Any]]:
    """Events as rows of the log: neighbouring deltas of one item and channel share a row."""
    rows: list[dict[str, Any]] = []
    open_row: tuple[str | None, str] | None = None
    for event in events:
        if event.type != "item.delta":
            rows.append(_row(event, event.data))
            open_row = None
            continue
        channel, delta = event.data["channel"], event.data["delta"]
        if open_row == (event.item_id, channel):
            rows[-1]["count"] += 1
            rows[-1]["data"]["deltas"].append(delta)
        else:
            rows.append(_row(event, {"channel": channel, "deltas": [delta]}))
            open_row = (event.item_id, channel)
    return rows


def _row(event: RunEvent, data: dict[str, Any]) -> dict[str, Any]:
    return {
        "seq": event.seq,
        "count": 1,
        "type": event.type,
        "item_id": event.item_id,
        "data": data,
    }
