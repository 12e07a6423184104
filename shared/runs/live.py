"""A run this process holds the lease of: what executes it speaks through here, and `LogWriter` commits it."""

import asyncio
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any

from shared.core import Draft, RunEvent
from shared.runs.feed import Feed
from shared.runs.outbox import Outbox
from shared.runs.results import Leased


class ReleaseDue(Exception):
    """This process may not execute the run any longer: its time here is over, or the process stops."""


class LeaseLost(Exception):
    """Another process holds the run now; nothing more of it may be sent from here."""


class LiveRun:
    """One attempt at a run, in the process that holds its lease.

    `send`, `commit`, `settle`, `close_items` and `release_if_due` are for what executes the run, the others for
    `Executor` and `LogWriter`. `silence_seconds`: without a renewed lease for that long, nothing more is sent.
    """

    def __init__(
        self, leased: Leased, *, commit_soon: Callable[[], None], silence_seconds: float
    ) -> None:
        self.leased = leased
        self.feed = Feed(base=leased.base)
        self.feed.publish(leased.events)
        self.is_lost = False
        self.is_cancelled = False
        #: The run that can be executed next: the thread's next one, or this one where it was released.
        self.next_run: str | None = None
        self._outbox = Outbox(leased, self.feed)
        self._commit_soon = commit_soon
        self._silence_seconds = silence_seconds
        self._task: asyncio.Task[Any] | None = None
        self._release_at = float("inf")
        self._closes_at = 0
        self._is_urgent = False
        self._is_renewing = False
        self._renewed_at = self._polled_at = leased.since
        self._append_answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    # For what executes the run.

    async def send(self, drafts: Sequence[Draft]) -> None:
        """Show readers events that have no consequence, and commit them with the next tick.

        Waits while the lease may be gone or the database does not keep up.

        Raises:
            LeaseLost: another process has the run.
        """
        while self.is_lost or self._must_wait():
            await self._next_append()
        if drafts:
            self._outbox.add(drafts, show_now=True)

    async def commit(self, drafts: Sequence[Draft], *, closes_turn: bool = False) -> None:
        """Commit events, and show readers them once they are in the log: at return they are.

        `closes_turn`: a takeover resumes behind these events.

        Raises:
            LeaseLost: they are not in the log, and never will be.
        """
        last = self._outbox.add(drafts, show_now=False)
        if closes_turn:
            self._closes_at = last
        self._is_urgent = True
        self._commit_soon()
        while self._outbox.committed < last:
            await self._next_append()

    async def settle(self) -> None:
        """Wait until everything sent is in the log.

        Raises:
            LeaseLost: it is not, and never will be.
        """
        while not self.is_settled:
            await self._next_append()

    def close_items(self, reason: str) -> list[Draft]:
        """The events that finish the run's open items, before an ending with that reason."""
        return self._outbox.open_items.close(reason)

    def release_after_turn(self, at: float = 0.0) -> None:
        """Have the run released between turns from a moment on (`time.monotonic`); the earliest one counts."""
        self._release_at = min(self._release_at, at)

    def release_if_due(self) -> None:
        """Between turns: leave this process if it is time.

        Raises:
            ReleaseDue: it is, and neither an ending nor a tool call is under way.
        """
        is_busy = self.has_ending or bool(self._outbox.open_items)
        if not is_busy and monotonic() > self._release_at:
            raise ReleaseDue

    def cancel(self) -> None:
        """End what executes the run, whose user cancelled it. Without a task, the next holder ends it."""
        if self._task and not self.is_cancelled:
            self.is_cancelled = True
            self._task.cancel()

    def executed_by(self, task: "asyncio.Task[Any] | None") -> None:
        """Set the task that `cancel` and a lost lease end; None while the run is released or its end committed."""
        self._task = task

    @property
    def has_ending(self) -> bool:
        return self._outbox.has_ending

    @property
    def is_settled(self) -> bool:
        """Whether everything sent is in the log."""
        return self._outbox.is_settled

    @property
    def committed(self) -> int:
        """Where the run's committed log ends."""
        return self._outbox.committed

    # For `LogWriter`.

    @property
    def is_urgent(self) -> bool:
        """Whether something waits for its commit."""
        return self._is_urgent

    @property
    def pending_events(self) -> int:
        return self._outbox.pending_events

    def wants_tick(self, now: float, poll_seconds: float) -> bool:
        """Whether it has events to append, or has not looked for a cancel for that long."""
        return bool(self._outbox.pending_events) or now - self._polled_at >= poll_seconds

    def take_events(self, renew_seconds: float) -> "tuple[list[RunEvent], bool, bool]":
        """What the next append carries: events, whether it renews the lease, whether the events close a turn."""
        events = self._outbox.take()
        self._is_urgent = False
        self._is_renewing = bool(events) or monotonic() - self._renewed_at >= renew_seconds
        closes_turn = bool(events) and events[0].seq <= self._closes_at
        return events, self._is_renewing, closes_turn

    def put_back(self) -> None:
        """Append the events in flight again with the next statement."""
        self._outbox.put_back()

    def confirm(self, started_at: float) -> None:
        """Note that the log has what was in flight; its statement began at `started_at`."""
        self._polled_at = started_at
        if self._is_renewing:
            self._renewed_at = started_at
        self._outbox.confirm(started_at)
        self._wake()

    def lose(self) -> None:
        """Another process has the run: end what executes it here."""
        self.is_lost = True
        self.feed.close()
        self._wake()
        if self._task:
            self._task.cancel()

    def _must_wait(self) -> bool:
        now = monotonic()
        return now - self._renewed_at > self._silence_seconds or self._outbox.is_behind(now)

    def _wake(self) -> None:
        self._append_answered.set_result(None)
        self._append_answered = asyncio.get_running_loop().create_future()

    async def _next_append(self) -> None:
        if not self.is_lost:
            await asyncio.shield(self._append_answered)
        if self.is_lost:
            raise LeaseLost
