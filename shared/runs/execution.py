"""The runs this process executes: to their end, or until a stopping process has no time left and releases them."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from itertools import count
from typing import Any

from shared.core import Grace, Settings, Unavailable, bound, logger, run_span
from shared.runs.dispatch import Dispatcher
from shared.runs.live import DeadlineReached, LiveRun
from shared.runs.store import Leased
from shared.runs.writer import LogWriter

#: A stopping process looks whether others have its runs, and with every fourth look sends again those that nobody has.
_LOOKS_PER_SEND = 4
#: What the last statements of a process may take.
_LAST_SECONDS = 1.0


#: Drives a run to its ending; `DeadlineReached` when it may not go on in this process.
Execute = Callable[[LiveRun], Awaitable[None]]


class Execution:
    """Owns the work of this process that outlives a request."""

    def __init__(
        self,
        journal: LogWriter,
        dispatch: Dispatcher,
        execute: Execute,
        settings: Settings,
    ) -> None:
        self.journal = journal
        #: No run is started any more.
        self.is_stopping = False
        #: Runs are released wherever they are, and streams are cut.
        self.is_releasing = False
        self._dispatch = dispatch
        self._execute = execute
        self._settings = settings
        self._claiming = 0
        self._executing: dict[str, asyncio.Task[None]] = {}
        #: Runs whose attempt here is giving its lease back.
        self._leaving: set[str] = set()
        self._errands: set[asyncio.Task[Any]] = set()
        self._brief: set[asyncio.Task[Any]] = set()
        #: Runs this process released while it stops, for another one to take.
        self._released: set[str] = set()

    @property
    def is_full(self) -> bool:
        """Whether another run must go elsewhere."""
        held = len(self.journal.live) + self._claiming
        return self.is_stopping or held >= self._settings.max_live_runs

    @contextmanager
    def claiming(self) -> Iterator[None]:
        """Count a run before it is known whether this process gets it, or any number could pass meanwhile."""
        self._claiming += 1
        try:
            yield
        finally:
            self._claiming -= 1

    def start(self, leased: Leased) -> None:
        """Start to execute a run that was just leased: `attempt_of` gives the task."""
        live = self.journal.open(leased)
        task = self._executing[leased.run_id] = asyncio.ensure_future(self._attempt(live))
        task.add_done_callback(partial(self._forget, leased.run_id))

    def _forget(self, run_id: str, task: asyncio.Task[None]) -> None:
        # The run may be back already, in another attempt.
        if self._executing.get(run_id) is task:
            del self._executing[run_id]
            self._leaving.discard(run_id)

    async def attempt_of(self, run_id: str) -> "asyncio.Task[None] | None":
        """The attempt at this run in progress here. One that is giving its lease back is waited for, and is none."""
        task = self._executing.get(run_id)
        if task and run_id in self._leaving:
            await asyncio.wait([task])
            return self._executing.get(run_id)
        return task

    def spawn(self, work: Coroutine[Any, Any, Any], *, is_brief: bool = False) -> None:
        """Let work go on that no request waits for. A stop waits for what is brief, and ends the rest."""
        task = asyncio.ensure_future(work)
        for tasks in (self._errands, self._brief) if is_brief else (self._errands,):
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    async def _attempt(self, live: LiveRun) -> None:
        leased = live.leased
        task = asyncio.current_task()
        live.on_stop = task.cancel if task else None
        ids = {"run_id": leased.client_run_id, "thread_id": leased.client_thread_id}
        with (
            run_span(
                leased.client_run_id, leased.client_thread_id, leased.attempt, leased.request
            ) as span,
            bound(**ids, user_id=leased.claims.get("sub")),
        ):
            logger.info("run.started", extra={"attempt": leased.attempt})
            try:
                await self._drive(live)
            finally:
                if not self.is_releasing:
                    self.journal.close(live)
                if live.is_lost:
                    span.fail("lease_lost")
            logger.info(
                "run.left" if live.is_lost else "run.ended", extra={"events": live.committed}
            )
        if live.next_run:
            # Not awaited: the delivery that brought this attempt ends with it, and not with the next one.
            self.spawn(self._dispatch.send(live.next_run))

    async def _drive(self, live: LiveRun) -> None:
        leased = live.leased
        try:
            if self.is_releasing:
                # Its claim was on the way when the grace ended.
                raise DeadlineReached
            await self._execute(live)
        except DeadlineReached:
            # A stop lowers `edges_at` to zero, so that the run leaves after its turn.
            reason = "stop" if self.is_releasing or not live.edges_at else "deadline"
            logger.info("run.handed_on", extra={"attempt": leased.attempt, "reason": reason})
            # A cancel that comes now is for whoever goes on with it.
            live.on_stop = None
            self._leaving.add(leased.run_id)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._settings.lease_seconds):
                    await self._give_back([live])

    async def stop(self, grace: Grace, on_release: Callable[[], None]) -> None:
        """Finish the runs this process holds, and release those that its grace is too short for.

        `on_release` is called before runs are released in the middle of a turn: their readers' streams end with them.
        """
        grace.start()
        self.is_stopping = True
        logger.info("function.stopping", extra={"runs": len(self._executing)})
        if not await grace.wait(self._is_idle, until=grace.edges_at):
            for live in self.journal.live.values():
                live.edges_at = 0.0
        if not await grace.wait(self._is_idle, until=grace.release_at):
            self.is_releasing = True
            on_release()
            await self._release(grace)
        await self._see_taken(grace)

    async def close(self, grace: Grace) -> None:
        """End what is left, once no request is open any more: until then readers may have found a run to send."""
        await self._see_taken(grace)
        left = self._released | self._dispatch.sending
        for task in self._errands:
            task.cancel()
        await asyncio.gather(*self._errands, return_exceptions=True)
        await self._leave_behind(left)
        await self._dispatch.close()

    def _is_idle(self) -> bool:
        return not (self._executing or self._claiming or self._brief)

    async def _release(self, grace: Grace) -> None:
        """Cut what is open: all that was said is committed, and every lease is given back."""
        executing = list(self._executing.values())
        for task in executing:
            task.cancel()
        with suppress(TimeoutError):
            async with asyncio.timeout(grace.release_seconds):
                await asyncio.gather(*executing, return_exceptions=True)
                await self._give_back(list(self.journal.live.values()))
        for live in list(self.journal.live.values()):
            self.journal.close(live)

    async def _give_back(self, runs: Sequence[LiveRun]) -> None:
        """Commit what runs said and give their leases back, as often as it takes: the tokens make that harmless."""
        by_id = {live.leased.run_id: live for live in runs}
        held = list(runs)
        while held:
            with suppress(Unavailable):
                for run_id in await self.journal.release(held):
                    by_id[run_id].next_run = run_id
                held = [live for live in held if live.has_ending and not live.is_over]
            if held:
                await asyncio.sleep(self._settings.tick_seconds)
        if self.is_stopping:
            self._released.update(live.next_run for live in runs if live.next_run)

    async def _see_taken(self, grace: Grace) -> None:
        """Send the runs this process leaves behind until others hold them, or the grace is over.

        It waits for deliveries, too: a request that is given up before its runner has started is lost.
        """
        if not self._dispatch.has_address:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(grace.seconds_left):
                for look in count():
                    with suppress(Unavailable):
                        left = self._released | self._dispatch.sending
                        left = await self._dispatch.unheld(left) if left else left
                        if not left:
                            return
                        if look % _LOOKS_PER_SEND == 0:
                            for run_id in left - self._dispatch.sending:
                                self.spawn(self._dispatch.send(run_id))
                    await asyncio.sleep(self._settings.tick_seconds)

    async def _leave_behind(self, run_ids: set[str]) -> None:
        """Leave runs to the next sweep or reader, whom the mark of a lost delivery would stop for a minute."""
        if not run_ids:
            return
        with suppress(Unavailable, TimeoutError):
            async with asyncio.timeout(_LAST_SECONDS):
                if left := await self._dispatch.unheld(run_ids):
                    logger.warning("run.left_behind", extra={"runs": len(left)})
                    await self._dispatch.clear(left)
