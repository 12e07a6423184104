"""Executes the runs that this process holds, one task per attempt, until they end or must be released."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from enum import IntEnum
from functools import partial
from typing import TypeAlias

from shared.core import Grace, Json, RunSettings, bound, logger, run_span
from shared.runs.agents import ExecutableAgents
from shared.runs.live import LeaseLost, LiveRun, ReleaseDue
from shared.runs.results import Leased, ids_of
from shared.runs.writer import LogWriter

#: Executes a run to its ending, or raises ReleaseDue if it may not continue in this process.
Execute: TypeAlias = Callable[[LiveRun], Awaitable[None]]


class StopPhase(IntEnum):
    """How far the stop of this process has come; `Grace` has the times. A phase includes those before it."""

    RUNNING = 0
    #: No run is claimed any more. Those in progress continue.
    FINISHING = 1
    #: A run is released when its turn ends.
    RELEASING_BETWEEN_TURNS = 2
    #: Attempts are cut wherever they are, and their runs released.
    RELEASING_NOW = 3


class Executor:
    """Starts the task of each attempt, counts the attempts, and ends them for a stop.

    Before they claim a run, callers check `is_full`, which limits the attempts to `max_live_runs`.
    """

    def __init__(
        self,
        writer: LogWriter,
        agents: ExecutableAgents,
        execute: Execute,
        settings: RunSettings,
    ) -> None:
        self._writer = writer
        self._agents = agents
        self._execute = execute
        self._settings = settings
        self._phase = StopPhase.RUNNING
        self._claims_under_way = 0
        self._attempts: dict[str, asyncio.Task[None]] = {}
        #: The runs that are being released.
        self._releases: set[str] = set()

    @property
    def is_stopping(self) -> bool:
        """Whether the process stops, so that no more runs are claimed."""
        return self._phase > StopPhase.RUNNING

    @property
    def is_releasing_now(self) -> bool:
        """Whether attempts are cut wherever they are."""
        return self._phase is StopPhase.RELEASING_NOW

    @property
    def is_full(self) -> bool:
        """Whether another run must be executed elsewhere."""
        runs = len(self._writer.live_runs()) + self._claims_under_way
        return self.is_stopping or runs >= self._settings.max_live_runs

    @property
    def is_idle(self) -> bool:
        """Whether no attempt and no claim is in progress."""
        return not (self._attempts or self._claims_under_way)

    @property
    def attempt_count(self) -> int:
        """How many attempts are in progress."""
        return len(self._attempts)

    @contextmanager
    def count_claim(self) -> Iterator[None]:
        """Count a run from the start of its claim. Otherwise, concurrent claims could exceed the limit together."""
        self._claims_under_way += 1
        try:
            yield
        finally:
            self._claims_under_way -= 1

    def start(self, leased: Leased, on_end: Callable[[LiveRun], None]) -> "asyncio.Task[None]":
        """Execute a run that was just leased. `on_end` is called when the attempt ends, but not if it was cut."""
        live = self._writer.open(leased)
        if self._phase >= StopPhase.RELEASING_BETWEEN_TURNS:
            live.release_after_turn()
        task = self._attempts[leased.run_id] = asyncio.ensure_future(self._attempt(live, on_end))
        task.add_done_callback(partial(self._forget, leased.run_id))
        return task

    def _forget(self, run_id: str, task: "asyncio.Task[None]") -> None:
        # The run may be here again already, in another attempt.
        if self._attempts.get(run_id) is task:
            del self._attempts[run_id]
            self._releases.discard(run_id)

    async def attempt_of(self, run_id: str) -> "asyncio.Task[None] | None":
        """The attempt at this run that is in progress here. Waits while one is being released."""
        task = self._attempts.get(run_id)
        if task and run_id in self._releases:
            await asyncio.wait([task])
            return self._attempts.get(run_id)
        return task

    async def _attempt(self, live: LiveRun, on_end: Callable[[LiveRun], None]) -> None:
        leased = live.leased
        live.set_cancellable_task(asyncio.current_task())
        with run_span(self._attributes(leased), leased.request) as span, bound(**ids_of(leased)):
            logger.info("run.started", extra={"attempt": leased.attempt})
            # Unless it returns, the attempt was cut.
            release_reason: str | None = "cut"
            try:
                release_reason = await self._execute_or_release(live)
            finally:
                # `release_now` closes the runs that it cuts, after it has released them.
                if not self.is_releasing_now:
                    self._writer.close(live)
                if live.is_dropped:
                    span.fail("lease_lost")
                _log_outcome(live, release_reason)
        on_end(live)

    def _attributes(self, leased: Leased) -> Json:
        return {
            "gen_ai.conversation.id": leased.client_thread_id,
            "gen_ai.agent.name": leased.agent,
            # Of the agent that executes the run now: a newer revision may have changed it since the admission.
            "agent.specification.hash": self._agents.fingerprint_of(leased.agent),
            "agent.run.id": leased.client_run_id,
            "agent.run.attempt": leased.attempt,
        }

    async def _execute_or_release(self, live: LiveRun) -> str | None:
        """Execute a run. Returns why it was released; None: it has ended, or this process dropped it."""
        try:
            if self.is_releasing_now:
                # Its claim was under way when the grace ended.
                raise ReleaseDue
            await self._execute(live)
        except ReleaseDue:
            await self._release(live)
            return "stop" if self._phase >= StopPhase.RELEASING_BETWEEN_TURNS else "deadline"
        except LeaseLost:
            pass
        return None

    async def _release(self, live: LiveRun) -> None:
        # A cancel that comes from now on is for the next holder.
        live.set_cancellable_task(None)
        self._releases.add(live.leased.run_id)
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.lease_seconds):
                await self._writer.release([live])

    def stop_claiming(self) -> None:
        """Claim no more runs: the first phase of a stop."""
        self._enter(StopPhase.FINISHING)

    def release_between_turns(self) -> None:
        """Have every run released at the end of its turn."""
        self._enter(StopPhase.RELEASING_BETWEEN_TURNS)
        for live in self._writer.live_runs():
            live.release_after_turn()

    async def release_now(self, grace: Grace) -> list[LiveRun]:
        """Cut every attempt, commit what its run sent, and release the run. Returns the runs that were cut."""
        self._enter(StopPhase.RELEASING_NOW)
        attempts = list(self._attempts.values())
        for attempt in attempts:
            attempt.cancel()
        with suppress(TimeoutError):
            async with asyncio.timeout(grace.release_seconds):
                await asyncio.gather(*attempts, return_exceptions=True)
                await self._writer.release(self._writer.live_runs())
        runs = self._writer.live_runs()
        for live in runs:
            self._writer.close(live)
        return runs

    def _enter(self, phase: StopPhase) -> None:
        self._phase = max(self._phase, phase)


def _log_outcome(live: LiveRun, release_reason: str | None) -> None:
    """Log how an attempt ended: with its run, with a release (and why), or because this process dropped the run."""
    facts: Json = {"attempt": live.leased.attempt, "events": live.committed_seq}
    if live.is_dropped:
        logger.info("run.lease_lost", extra=facts)
    elif release_reason:
        logger.info("run.released", extra={**facts, "reason": release_reason})
    else:
        logger.info("run.ended", extra=facts)
