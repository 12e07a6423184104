"""The door to runs: admits them, takes up those that wait, sends the others on their way."""

import asyncio
from datetime import timedelta

from shared.core import (
    Json,
    Settings,
    ThreadBusy,
    TooManyRuns,
    Unavailable,
    count_takeover,
    logger,
    run_origin,
)
from shared.database import Database
from shared.runs.dispatch import Dispatcher
from shared.runs.execution import Execute, Execution
from shared.runs.feed import Feed
from shared.runs.store import Leased, Over, RunStore, RunView, Suspected, Waiting
from shared.runs.writer import LogWriter

#: Runs of one sweep; the next one takes the rest.
_SWEEP = 100
_MARGIN_SECONDS = 0.1
#: A holder is late when its lease is so many times the renewal's period old.
_LATE = 1.5
#: A run that is noticed again while its second look is still to come is left to that.
_NOTICE_SECONDS = 0.5


class RunWorker:
    """Runs in the hands of this process: admits, takes up, executes, and gives them back."""

    def __init__(
        self,
        database: Database,
        runs: RunStore,
        journal: LogWriter,
        execute: Execute,
        settings: Settings,
    ) -> None:
        self.runs = runs
        self.journal = journal
        self._dispatch = Dispatcher(database, settings, self._take)
        self._execution = Execution(journal, self._dispatch, execute, settings)
        self.stop = self._execution.stop
        self.close = self._execution.close
        self._database = database
        self._settings = settings
        self._noticed: set[str] = set()
        self._awaited: set[str] = set()

    async def begin(
        self, claims: Json, request: Json, *, in_background: bool = False
    ) -> Leased | Waiting:
        """Admit a run and start to answer it, or let it wait: in its thread's queue, or sent to the runner.

        Raises:
            TooManyRuns: this process is full, or it stops.
            ThreadBusy, and what else `Runs.begin` raises.
        """
        if self._execution.is_stopping or (self._execution.is_full and not in_background):
            raise TooManyRuns(retry_after=2)
        try:
            with self._execution.claiming():
                wanted = {**request, **run_origin()}
                admitted = await self.runs.begin(claims, wanted, lease=not in_background)
                if isinstance(admitted, Leased):
                    self._execution.start(admitted)
                    return admitted
        except ThreadBusy as busy:
            if busy.orphan:
                await self.take_up(busy.orphan)
            raise
        if admitted.orphan:
            await self.take_up(admitted.orphan)
        elif in_background and not admitted.is_known:
            self._pass_on(admitted.run_id)
        return admitted

    async def take_up(self, run_id: str) -> None:
        """Answer a run that waits: queued on a free thread, or left by a process that died. Others may be faster.

        Where this process is full, or stops, the run is sent to another one.
        """
        if not await self._take(run_id) and self._dispatch.has_address:
            self._pass_on(run_id)

    async def _take(self, run_id: str) -> bool:
        """Claim a run. False: nobody has it, and this process cannot take it now."""
        try:
            if isinstance(await self._claim(run_id), Suspected):
                self._execution.spawn(self._second_look(run_id))
        except (Unavailable, TooManyRuns):
            return False
        return True

    def notice(self, run_id: str) -> None:
        """Take up a run that is followed here and that nobody holds; told again and again, it looks now and then."""
        if run_id not in self._noticed:
            self._noticed.add(run_id)
            self._execution.spawn(self._take_noticed(run_id))

    async def _take_noticed(self, run_id: str) -> None:
        try:
            await self.take_up(run_id)
            await asyncio.sleep(self._settings.takeover_grace_seconds + _NOTICE_SECONDS)
        finally:
            self._noticed.discard(run_id)

    async def execute(self, run_id: str) -> None:
        """Answer a run until this attempt ends; return at once where it does not wait, or another process has it.

        Raises:
            TooManyRuns: this process is full, or it stops.
        """
        task = await self._claim(run_id)
        if isinstance(task, Suspected):
            task = await self._look_again(run_id)
        if isinstance(task, asyncio.Task):
            # Whoever delivered it may go away; the run goes on.
            await asyncio.wait([task])

    async def meet(self, view: RunView) -> None:
        """Whoever meets a run that nobody holds takes it up."""
        if not view.has_ended and not view.held:
            await self.take_up(view.run_id)

    async def sweep(self) -> int:
        """Send every run that waits on its way, and take back the space of old ones. Returns how many were sent.

        A run whose holder is late to renew is sent when its lease runs out, not with the sweep after that.
        """
        if self._execution.is_stopping:
            raise TooManyRuns(retry_after=2)
        swept = await self._database.rows("sweep_runs", _SWEEP)
        for row in swept:
            self._execution.spawn(self._dispatch.deliver(str(row["sweep_runs"])))
        await self._look_ahead()
        settings = self._settings
        hours = (
            settings.keep_deltas_hours,
            settings.keep_events_hours,
            settings.keep_deleted_hours,
        )
        await self._database.call("prune", *(timedelta(hours=keep) for keep in hours), _SWEEP)
        return len(swept)

    async def _look_ahead(self) -> None:
        settings = self._settings
        late = settings.lease_seconds - _LATE * settings.lease_renew_seconds
        for row in await self._database.rows("late_leases", late, _SWEEP):
            run_id = str(row["run_id"])
            if run_id not in self._awaited and run_id not in self.journal.live:
                self._awaited.add(run_id)
                self._execution.spawn(self._send_in(run_id, row["due_in"]))

    async def _send_in(self, run_id: str, seconds: float) -> None:
        try:
            await asyncio.sleep(seconds + _MARGIN_SECONDS)
        finally:
            self._awaited.discard(run_id)
        await self._dispatch.send(run_id)

    def feed(self, run_id: str) -> Feed | None:
        """The events of a run that lives in this process."""
        live = self.journal.live.get(run_id)
        return live.feed if live else None

    async def cancel(self, claims: Json, client_run_id: str, request_id: str) -> str:
        """End a run: at once where it lives here, else with its holder's next tick. Returns its status.

        Raises:
            RunNotFound: there is none, or it is somebody else's.
        """
        run_id, status, next_run = await self.runs.cancel(claims, client_run_id, request_id)
        live = self.journal.live.get(run_id)
        if live and not live.cancel_asked and live.on_stop:
            live.cancel_asked = True
            live.on_stop()
        self._pass_on(next_run)
        return status

    def _pass_on(self, run_id: str | None) -> None:
        if run_id:
            self._execution.spawn(self._dispatch.send(run_id))

    def leave(self, claims: Json, view: RunView, request_id: str) -> None:
        """The client of a run that should not outlive it has gone; where its stream was cut here, it has not."""
        if not self._execution.is_releasing:
            work = self.cancel(claims, view.client_run_id, request_id)
            self._execution.spawn(work, is_brief=True)

    async def _claim(self, run_id: str) -> "asyncio.Task[None] | Suspected | None":
        if task := await self._execution.attempt_of(run_id):
            # Its next tick renews the lease. A delivery that comes again stays open as long as the first would have.
            return task
        if self._execution.is_full:
            raise TooManyRuns(retry_after=2)
        with self._execution.claiming():
            claimed = await self.runs.claim(run_id)
            if isinstance(claimed, Over):
                self._pass_on(claimed.next_run)
                return None
            if not isinstance(claimed, Leased):
                return claimed
            logger.info("run.taken_up", extra={"run": run_id, "attempt": claimed.attempt})
            count_takeover(claimed.attempt, claimed.request)
            self._execution.start(claimed)
            return await self._execution.attempt_of(run_id)

    async def _look_again(self, run_id: str) -> "asyncio.Task[None] | Suspected | None":
        await asyncio.sleep(self._settings.takeover_grace_seconds + _MARGIN_SECONDS)
        return await self._claim(run_id)

    async def _second_look(self, run_id: str) -> None:
        try:
            await self._look_again(run_id)
        except Unavailable:
            return
        except TooManyRuns:
            if self._dispatch.has_address:
                self._pass_on(run_id)
