"""What a process does with runs: admit them, execute those it can take, send the others to a process that can."""

import asyncio

from shared.core import Grace, Json, RunSettings, ThreadBusy, logger, run_origin
from shared.runs.background import BackgroundTasks
from shared.runs.dispatcher import Dispatcher
from shared.runs.executor import Execute, Executor
from shared.runs.handover import Handover
from shared.runs.placement import Placement
from shared.runs.results import Leased, RunView, Waiting
from shared.runs.store import RunStore
from shared.runs.waiting import WaitingRuns
from shared.runs.writer import LogWriter


class RunWorker:
    """Executes runs under their leases. It knows neither HTTP nor models: `execute` drives a run to its ending.

    A stop is `finish`, then `release` where runs are left, then `hand_over`; and `close` when no request is open.
    """

    def __init__(
        self,
        store: RunStore,
        waiting: WaitingRuns,
        writer: LogWriter,
        execute: Execute,
        settings: RunSettings,
    ) -> None:
        self._store = store
        self._waiting = waiting
        self._writer = writer
        self._background = BackgroundTasks()
        self._executor = Executor(writer, execute, settings)
        self._dispatcher = Dispatcher(waiting, self._background, settings)
        self._handover = Handover(waiting, self._dispatcher, settings)
        self._placement = Placement(
            store,
            waiting,
            self._executor,
            self._dispatcher,
            self._handover,
            self._background,
            settings,
        )

    async def start(
        self, claims: Json, request: Json, *, background: bool = False
    ) -> Leased | Waiting:
        """Admit a run and execute it, or let it wait: in its thread's queue, or, in the background, for the runner.

        Raises:
            TooManyRuns: this process is full, or it stops.
            ThreadBusy, and what else `RunStore.start` raises.
        """
        if not background or self._executor.is_stopping:
            self._placement.check_room()
        try:
            admitted = await self._admit(claims, {**request, **run_origin()}, background)
        except ThreadBusy as busy:
            if busy.unheld_run_id:
                await self._placement.place(busy.unheld_run_id)
            raise
        if isinstance(admitted, Waiting):
            if admitted.unheld_run_id:
                await self._placement.place(admitted.unheld_run_id)
            elif background and not admitted.is_known:
                self._placement.send(admitted.run_id)
        return admitted

    async def _admit(self, claims: Json, request: Json, background: bool) -> Leased | Waiting:
        with self._executor.claiming():
            admitted = await self._store.start(claims, request, lease=not background)
            if isinstance(admitted, Leased):
                _ = self._placement.execute(admitted)
        return admitted

    async def take(self, run_id: str) -> None:
        """Execute a run that waits, and return when this attempt at it ends. The run does not depend on the caller.

        Returns at once where the run does not wait, or another process has it.

        Raises:
            TooManyRuns: this process is full, or it stops.
        """
        if attempt := await self._placement.take(run_id):
            await asyncio.wait([attempt])

    async def recover(self, view: RunView) -> None:
        """Place the run that a reader attaches to, if no process holds it: here, or at the runner."""
        if not view.has_ended and not view.held:
            await self._placement.place(view.run_id)

    def recover_later(self, run_id: str) -> None:
        """Place a followed run whose lease ran out, in the background; it may be called again and again."""
        self._placement.place_later(run_id)

    async def cancel(self, claims: Json, client_run_id: str, request_id: str) -> str:
        """End a run: at once where this process holds it, else with its holder's next tick. Returns its status.

        Raises:
            RunNotFound: there is none, or it belongs to another user.
        """
        run_id, status, next_run = await self._store.cancel(claims, client_run_id, request_id)
        if live := self._writer.live_run(run_id):
            live.cancel()
        if next_run:
            self._placement.send(next_run)
        return status

    def cancel_abandoned(self, claims: Json, view: RunView, request_id: str) -> None:
        """Cancel a run whose client has gone, in the background; not where the stop of this process cut its stream."""
        if not self._executor.is_releasing_now:
            work = self.cancel(claims, view.client_run_id, request_id)
            self._background.start(work, is_brief=True)

    async def sweep(self) -> int:
        """Send every run that waits, and delete what is kept no longer. Returns how many runs were sent.

        A run whose holder is late to renew is sent when its lease runs out, instead of by the sweep after that.

        Raises:
            TooManyRuns: this process stops.
        """
        if self._executor.is_stopping:
            self._placement.check_room()
        swept = await self._waiting.sweep()
        for run_id in swept:
            self._placement.send(run_id, is_marked=True)
        for run_id, seconds in await self._waiting.late_leases():
            if not self._writer.live_run(run_id):
                self._placement.send_after(run_id, seconds)
        await self._waiting.prune()
        return len(swept)

    async def finish(self, grace: Grace) -> bool:
        """Take no more runs and finish those this process holds; near the grace's end, only their open turns.

        Returns whether all have left; if not, `release` must follow.
        """
        grace.start()
        self._executor.is_stopping = True
        logger.info("function.stopping", extra={"runs": self._executor.runs})
        if not await grace.wait(self._is_idle, until=grace.handover_at):
            self._executor.release_between_turns()
        return await grace.wait(self._is_idle, until=grace.release_at)

    async def release(self, grace: Grace) -> None:
        """Release the runs that this process still holds, in the middle of their turns."""
        for live in await self._executor.release_now(grace):
            if live.next_run:
                self._handover.note(live.next_run)

    async def hand_over(self, grace: Grace) -> None:
        """Send the runs that this process leaves, until other processes hold them or the grace is over."""
        await self._handover.until_taken(grace)

    async def close(self, grace: Grace) -> None:
        """End everything, once no request is open any more: until then, readers may have found a run to send."""
        await self._handover.until_taken(grace)
        remaining = self._handover.remaining()
        await self._background.cancel()
        await self._handover.clear_marks(remaining)
        await self._dispatcher.close()

    def _is_idle(self) -> bool:
        return self._executor.is_idle and not self._background.has_brief
