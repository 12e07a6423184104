"""The holder's end of the log: what a run says is numbered, sent on, and committed, many runs in one statement.

Write ahead for consequences, group commit for text: `send` publishes at once and commits with the next tick, `commit`
publishes what the database has confirmed. Only the lease's holder appends, one append per run is in flight, and what
was appended but not confirmed is sent again, which the log's numbers make harmless.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from time import monotonic
from typing import Any

from shared.core import ENDINGS, Draft, Event, Settings, Unavailable, logger, measure
from shared.database import Database
from shared.runs.live import LiveRun
from shared.runs.store import Leased

#: A quiet run asks this often whether it was cancelled.
_POLL_SECONDS = 1.0


class LogWriter:
    """Commits what all runs of this process say, at most one statement per tick and one in flight."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._tick = settings.tick_seconds
        self._renew = settings.lease_renew_seconds
        self._lease = settings.lease_seconds
        self._silence = settings.lease_seconds * 2 / 3
        self._wake = asyncio.Event()
        self._ticked_at = monotonic()
        self._writing = asyncio.Lock()
        self.live: dict[str, LiveRun] = {}

    def open(self, leased: Leased) -> LiveRun:
        """Start to keep a run whose lease this process has."""
        live = self.live[leased.run_id] = LiveRun(leased)
        measure("agent.run.live", 1)
        self._wake.set()
        return live

    def close(self, live: LiveRun) -> None:
        """Stop keeping a run: it ended, or it is not ours any more."""
        live.feed.close()
        if self.live.get(live.leased.run_id) is live:
            del self.live[live.leased.run_id]
            measure("agent.run.live", -1)

    async def send(self, live: LiveRun, drafts: Sequence[Draft]) -> None:
        """Publish events without consequence now, commit them with the next tick."""
        while live.is_lost or live.is_behind(self._silence):
            await live.progress()
        if drafts:
            live.stamp(drafts, free=True)

    async def commit(self, live: LiveRun, drafts: Sequence[Draft], *, closes: bool = False) -> None:
        """Commit events, and publish them when they are: at return they are in the log.

        Raises:
            LeaseLost: they are not, and never will be.
        """
        last = live.stamp(drafts, free=False)
        live.closes_at = last if closes else live.closes_at
        live.is_urgent = True
        self._wake.set()
        while live.committed < last:
            await live.progress()

    async def settle(self, live: LiveRun) -> None:
        """Wait until all it has said is in the log; raises as `commit` does."""
        while not live.is_settled:
            await live.progress()

    async def run(self) -> None:
        """Commit until cancelled."""
        while True:
            await self._next_tick()
            if due := self._take_due(monotonic()):
                try:
                    await self.flush(due)
                except Exception:
                    # One statement's trouble must not end all that come after it.
                    logger.exception("journal.failed")

    async def _next_tick(self) -> None:
        if any(live.is_urgent for live in self.live.values()):
            return
        self._wake.clear()
        left = max(0.0, self._ticked_at + self._tick - monotonic())
        with suppress(TimeoutError):
            async with asyncio.timeout(left if self.live else None):
                await self._wake.wait()

    def _take_due(self, now: float) -> list[LiveRun]:
        # The tick is the process's and not the run's: text of all streams waits for the same one, so that statements
        # do not grow with streams.
        is_tick = now - self._ticked_at >= self._tick
        if is_tick:
            self._ticked_at = now
        return [
            live
            for live in self.live.values()
            if live.is_urgent
            or (is_tick and (live.pending or now - live.polled_at >= _POLL_SECONDS))
        ]

    async def flush(self, due: Sequence[LiveRun]) -> None:
        """Append what these runs have pending. One append per run is in flight, so one at a time."""
        async with self._writing:
            await self._flush(due)

    async def _flush(self, due: Sequence[LiveRun]) -> None:
        batch = [self._entry(live) for live in due]
        started_at = monotonic()
        try:
            verdicts = await self._database.rows("append_events", batch)
        except Unavailable:
            self._put_back(due)
            await asyncio.sleep(self._tick)
        except Exception:
            self._put_back(due)
            await self._flush_apart(due)
        else:
            answers = {str(row["run_id"]): row for row in verdicts}
            for live in due:
                self._take_verdict(live, answers[live.leased.run_id], started_at)

    async def _flush_apart(self, due: Sequence[LiveRun]) -> None:
        # One bad run must not fail the others: each gets a statement, and the one that fails again is given up.
        if len(due) == 1:
            logger.exception("run.unwritable", extra={"run_id": due[0].leased.client_run_id})
            self._stop(due[0], lost=True)
            return
        for live in due:
            await self._flush([live])

    def _entry(self, live: LiveRun) -> dict[str, Any]:
        live.in_flight, live.pending = live.pending, []
        live.is_urgent = False
        rows = _rows(live.in_flight)
        live.is_renewing = bool(rows) or monotonic() - live.renewed_at >= self._renew
        last = live.in_flight[-1].type if rows else None
        return {
            "run_id": live.leased.run_id,
            "token": live.leased.token,
            "seconds": self._lease if live.is_renewing else None,
            "rows": rows,
            "closes": bool(rows) and live.in_flight[0].seq <= live.closes_at,
            "ending": last if last in ENDINGS else None,
        }

    def _put_back(self, due: Sequence[LiveRun]) -> None:
        for live in due:
            live.pending = live.in_flight + live.pending
            live.in_flight = []

    def _take_verdict(self, live: LiveRun, answer: Any, started_at: float) -> None:
        match answer["verdict"]:
            case "busy":
                self._put_back([live])
            case "lost":
                self._stop(live, lost=True)
            case verdict:
                if answer["next_run"]:
                    live.next_run = str(answer["next_run"])
                live.confirm(started_at)
                if verdict == "cancel" and not live.cancel_asked:
                    live.cancel_asked = True
                    self._stop(live, lost=False)

    def _stop(self, live: LiveRun, *, lost: bool) -> None:
        if lost:
            measure("agent.lease.losses", 1)
            live.lose()
        if live.on_stop:
            live.on_stop()

    async def release(self, held: Sequence[LiveRun]) -> list[str]:
        """Commit what is pending and give leases back. Returns the runs that somebody else must go on with."""
        async with self._writing:
            if pending := [live for live in held if live.pending and not live.is_lost]:
                await self._flush(pending)
            unended = [live for live in held if not live.has_ending and not live.is_lost]
            names = [{"run_id": run.leased.run_id, "token": run.leased.token} for run in unended]
            if names:
                await self._database.call("release_runs", names)
        return [live.leased.run_id for live in unended]


def _rows(events: Sequence[Event]) -> list[dict[str, Any]]:
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


def _row(event: Event, data: dict[str, Any]) -> dict[str, Any]:
    return {
        "seq": event.seq,
        "count": 1,
        "type": event.type,
        "item_id": event.item_id,
        "data": data,
    }
