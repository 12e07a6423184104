"""What a process does with runs: admit them, execute them if it can, otherwise dispatch them to a process that can."""

import asyncio

from shared.core import Grace, Json, RunSettings, ThreadBusy, TooManyRuns, logger, run_origin
from shared.runs.agents import ExecutableAgents
from shared.runs.background import BackgroundTasks
from shared.runs.dispatcher import Dispatcher
from shared.runs.executor import Execute, Executor
from shared.runs.handover import Handover
from shared.runs.placement import RETRY_SECONDS, Placement
from shared.runs.results import Leased, NotLeased, RunView
from shared.runs.store import RunStore
from shared.runs.waiting import WaitingRuns
from shared.runs.writer import LogWriter


class RunWorker:
    """The interface of this package to the functions. It knows neither HTTP nor models: `execute` executes a run.

    A stop calls `finish`, then `release` if runs are left, then `hand_over`; and `close` when no request is open.
    """

    def __init__(
        self,
        store: RunStore,
        waiting: WaitingRuns,
        writer: LogWriter,
        agents: ExecutableAgents,
        execute: Execute,
        settings: RunSettings,
    ) -> None:
        self._store = store
        self._waiting = waiting
        self._writer = writer
        self._agents = agents
        self._background = BackgroundTasks()
        self._executor = Executor(writer, agents, execute, settings)
        self._dispatcher = Dispatcher(waiting, self._background, settings)
        self._handover = Handover(waiting, self._dispatcher, settings)
        self._placement = Placement(
            store,
            agents,
            waiting,
            self._executor,
            self._dispatcher,
            self._handover,
            self._background,
            settings,
        )

    async def start(
        self, claims: Json, request: Json, *, background: bool = False
    ) -> Leased | NotLeased:
        """Admit a run and execute it, or let it wait: in its thread's queue, or for the runner if in the `background`.

        Raises:
            TooManyRuns: this process is full, or it stops.
            ThreadBusy, and what else `RunStore.start` raises.
        """
        if not background or self._executor.is_stopping:
            self._placement.check_room()
        try:
            admission = await self._admit(claims, self._complete(request), background)
        except ThreadBusy as busy:
            if busy.run_id_to_place:
                await self._placement.claim_or_dispatch(busy.run_id_to_place)
            raise
        if isinstance(admission, NotLeased):
            if admission.run_id_to_place:
                await self._placement.claim_or_dispatch(admission.run_id_to_place)
            elif background and not admission.is_attached:
                self._placement.dispatch_or_claim(admission.run_id)
        return admission

    def _complete(self, request: Json) -> Json:
        """The request with what this process adds to it: where it comes from, and the declaration of its agent."""
        fingerprint = self._agents.fingerprint_of(request["agent"])
        return {**request, **run_origin(), "agent_hash": fingerprint}

    async def _admit(self, claims: Json, request: Json, background: bool) -> Leased | NotLeased:
        with self._executor.count_claim():
            admission = await self._store.start(claims, request, lease=not background)
            if isinstance(admission, Leased):
                _ = self._placement.execute(admission)
        return admission

    async def execute_delivered(self, run_id: str) -> None:
        """Execute the waiting run that a delivery names, and return when the attempt ends.

        Returns at once if the run does not wait or another process holds it. The attempt does not depend on the caller.

        Raises:
            TooManyRuns: this process is full, or it stops.
            AgentUnavailable: this process cannot execute the run's agent.
        """
        if attempt := await self._placement.claim_or_refuse(run_id):
            await asyncio.wait([attempt])

    async def recover(self, view: RunView) -> None:
        """Place the run that a reader attaches to, if no process holds it."""
        if not view.has_ended and not view.is_held:
            await self._placement.claim_or_dispatch(view.run_id)

    def recover_later(self, run_id: str) -> None:
        """Place a followed run that no process holds, in the background. The reader calls it with each tick."""
        self._placement.claim_or_dispatch_later(run_id)

    async def cancel(self, claims: Json, client_run_id: str, request_id: str) -> str:
        """Cancel a run: at once if this process or none holds it, else with its holder's next tick. Returns its status.

        Raises:
            RunNotFound: there is none, or it belongs to another user.
        """
        run_id, status, next_queued_run = await self._store.cancel(
            claims, client_run_id, request_id
        )
        if live := self._writer.live_run(run_id):
            live.cancel()
        if next_queued_run:
            self._placement.dispatch_or_claim(next_queued_run)
        return status

    def cancel_abandoned(self, claims: Json, view: RunView, request_id: str) -> None:
        """Cancel a run whose client has left, in the background. Not if the stop of this process cut the stream."""
        if not self._executor.is_releasing_now:
            work = self.cancel(claims, view.client_run_id, request_id)
            self._background.start(work, is_brief=True)

    async def sweep(self) -> int:
        """Dispatch every waiting run, and delete what is kept no longer. Returns how many runs were dispatched.

        A run whose holder is late to renew is dispatched when its lease expires, instead of by the sweep after that.

        Raises:
            TooManyRuns: this process stops.
        """
        if self._executor.is_stopping:
            raise TooManyRuns(retry_after=RETRY_SECONDS)
        run_ids = await self._waiting.sweep()
        for run_id in run_ids:
            self._placement.dispatch_or_claim(run_id, is_marked=True)
        for run_id, seconds in await self._waiting.late_leases():
            if not self._writer.live_run(run_id):
                self._placement.dispatch_at_expiry(run_id, seconds)
        await self._waiting.prune()
        return len(run_ids)

    async def finish(self, grace: Grace) -> bool:
        """Claim no more runs, and finish those that this process holds; near the grace's end, only their open turns.

        Returns whether none is left. Otherwise `release` must follow.
        """
        grace.start()
        self._executor.stop_claiming()
        logger.info("function.stopping", extra={"runs": self._executor.attempt_count})
        if not await grace.wait(self._is_idle, until=grace.handover_at):
            self._executor.release_between_turns()
        return await grace.wait(self._is_idle, until=grace.release_at)

    async def release(self, grace: Grace) -> None:
        """Release the runs that this process still holds, in the middle of their turns."""
        for live in await self._executor.release_now(grace):
            if live.waiting_run_id:
                self._handover.add(live.waiting_run_id)

    async def hand_over(self, grace: Grace) -> None:
        """Dispatch the runs that this process leaves, until other processes hold them or the grace is over."""
        await self._handover.dispatch_until_claimed(grace)

    async def close(self, grace: Grace) -> None:
        """Hand over again, then end everything. Called when no request is open: an open reader could recover a run."""
        await self._handover.dispatch_until_claimed(grace)
        remaining = self._handover.remaining()
        await self._background.cancel()
        await self._handover.clear_marks(remaining)
        await self._dispatcher.close()

    def _is_idle(self) -> bool:
        return self._executor.is_idle and not self._background.has_brief
