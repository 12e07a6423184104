"""A run that this process holds: the agent engine sends its events through here, and `LogWriter` commits them."""

import asyncio
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any

from shared.core import Draft, RunEvent
from shared.runs.feed import Feed
from shared.runs.outbox import Outbox
from shared.runs.results import Leased


class ReleaseDue(Exception):
    """This process must release the run: its time here is over, or the process stops."""


class LeaseLost(Exception):
    """This process has dropped the run, so it may send no more of its events."""


class LiveRun:
    """One attempt at a run, in the process that holds its lease.

    `send`, `commit`, `settle`, `close_items` and `release_if_due` are for the engine that executes the run, the other
    methods for `Executor` and `LogWriter`. If the lease was not renewed for `max_unrenewed_seconds`, `send` waits.
    """

    def __init__(
        self, leased: Leased, *, commit_soon: Callable[[], None], max_unrenewed_seconds: float
    ) -> None:
        self.leased = leased
        self.feed = Feed(base=leased.base)
        self.feed.publish(leased.events)
        self.is_dropped = False
        self.is_cancelled = False
        #: The run that waits for a process after this attempt: this one if it was released, else the thread's next one.
        self.waiting_run_id: str | None = None
        self._outbox = Outbox(leased, self.feed)
        self._commit_soon = commit_soon
        self._max_unrenewed_seconds = max_unrenewed_seconds
        self._task: asyncio.Task[Any] | None = None
        self._release_at = float("inf")
        self._closes_at = 0
        self._is_urgent = False
        self._is_renewing = False
        self._renewed_at = self._polled_at = leased.since
        self._append_done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    # For the engine.

    async def send(self, drafts: Sequence[Draft]) -> None:
        """Show events without a consequence to readers at once, and commit them with the next tick.

        Waits while the lease may be lost or the database does not keep up.

        Raises:
            LeaseLost: this process has dropped the run.
        """
        while self.is_dropped or self._must_wait():
            await self._next_append()
        if drafts:
            self._outbox.add(drafts, show_now=True)

    async def commit(self, drafts: Sequence[Draft], *, closes_turn: bool = False) -> None:
        """Commit events, and show them to readers when the log has them. Returns then.

        `closes_turn`: a takeover resumes after these events.

        Raises:
            LeaseLost: the log does not have them, and never will.
        """
        last = self._outbox.add(drafts, show_now=False)
        if closes_turn:
            self._closes_at = last
        self._is_urgent = True
        self._commit_soon()
        while self._outbox.committed_seq < last:
            await self._next_append()

    async def settle(self) -> None:
        """Wait until the log has everything that was sent.

        Raises:
            LeaseLost: it does not, and never will.
        """
        while not self.is_settled:
            await self._next_append()

    def close_items(self, reason: str) -> list[Draft]:
        """The events that finish the run's open items, before an ending with that reason."""
        return self._outbox.open_items.close(reason)

    def release_after_turn(self, at: float = 0.0) -> None:
        """Have the run released at the end of a turn from `at` on (`time.monotonic`). The earliest `at` counts."""
        self._release_at = min(self._release_at, at)

    def release_if_due(self) -> None:
        """Raise ReleaseDue if the run is to be released, unless an ending or a tool call is in progress.

        The engine calls it after each commit.

        Raises:
            ReleaseDue: this attempt must end here.
        """
        # After a commit, the only open items are results of calls that still run.
        is_busy = self.has_ending or bool(self._outbox.open_items)
        if not is_busy and monotonic() > self._release_at:
            raise ReleaseDue

    def cancel(self) -> None:
        """Cancel the task that executes the run, which then writes its ending. Without a task, the next holder does."""
        if self._task and not self.is_cancelled:
            self.is_cancelled = True
            self._task.cancel()

    def set_cancellable_task(self, task: "asyncio.Task[Any] | None") -> None:
        """Set the task that `cancel` and `drop` cancel.

        None: there is nothing to cancel any more, because the run is being released or its ending committed.
        """
        self._task = task

    @property
    def has_ending(self) -> bool:
        """Whether the run's ending is in the log or on its way to it."""
        return self._outbox.has_ending

    @property
    def is_settled(self) -> bool:
        """Whether the log has everything that was sent."""
        return self._outbox.is_settled

    @property
    def committed_seq(self) -> int:
        """Where the run's committed log ends."""
        return self._outbox.committed_seq

    # For `LogWriter`.

    @property
    def is_urgent(self) -> bool:
        """Whether a caller waits for a commit, so that the next append must not wait for the tick."""
        return self._is_urgent

    @property
    def pending_events(self) -> int:
        return self._outbox.pending_events

    def wants_tick(self, now: float, poll_seconds: float) -> bool:
        """Whether the run has events to append, or has not checked for a cancel for `poll_seconds`."""
        return bool(self._outbox.pending_events) or now - self._polled_at >= poll_seconds

    def take_events(self, renew_seconds: float) -> "tuple[list[RunEvent], bool, bool]":
        """Take what the next append carries: events, whether it renews the lease, whether the events close a turn."""
        events = self._outbox.take_pending()
        self._is_urgent = False
        self._is_renewing = bool(events) or monotonic() - self._renewed_at >= renew_seconds
        # `commit` waits, so nothing follows the closing event in its append.
        closes_turn = bool(events) and events[0].seq <= self._closes_at
        return events, self._is_renewing, closes_turn

    def put_back(self) -> None:
        """Have the next append repeat the events in flight."""
        self._outbox.put_back()

    def confirm(self, started_at: float) -> None:
        """Note that the log has what was in flight; its statement began at `started_at`."""
        self._polled_at = started_at
        if self._is_renewing:
            self._renewed_at = started_at
        self._outbox.confirm(started_at)
        self._wake()

    def drop(self) -> None:
        """Give the run up: another process has it, or its events cannot be stored. Cancel the task that executes it."""
        self.is_dropped = True
        self.feed.close()
        self._wake()
        if self._task:
            self._task.cancel()

    def _must_wait(self) -> bool:
        now = monotonic()
        return now - self._renewed_at > self._max_unrenewed_seconds or self._outbox.has_backlog(now)

    def _wake(self) -> None:
        self._append_done.set_result(None)
        self._append_done = asyncio.get_running_loop().create_future()

    async def _next_append(self) -> None:
        if not self.is_dropped:
            await asyncio.shield(self._append_done)
        if self.is_dropped:
            raise LeaseLost
