"""The runs this process executes: to their end, or until a stopping process has no time left and releases them."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator
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
        self._errands: set[asyncio.Task[Any]] = set()
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

    def attempt_of(self, run_id: str) -> "asyncio.Task[None] | None":
        """The attempt at this run that is in progress here."""
        return self._executing.get(run_id)

    def spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        """Let short work go on that no request waits for."""
        task = asyncio.ensure_future(work)
        self._errands.add(task)
        task.add_done_callback(self._errands.discard)

    async def _attempt(self, live: LiveRun) -> None:
        leased = live.leased
        task = asyncio.current_task()
        live.on_stop = task.cancel if task else None
        ids = {"run_id": leased.run_key, "thread_id": leased.thread_key}
        with (
            run_span(leased.run_key, leased.thread_key, leased.attempt, leased.request) as span,
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
            logger.info("run.handed_on", extra={"attempt": leased.attempt})
            # A cancel that comes now is for whoever goes on with it.
            live.on_stop = None
            for run_id in await self.journal.release([live]):
                live.next_run = run_id
                if self.is_stopping:
                    self._released.add(run_id)

    async def stop(self, grace: Grace, on_release: Callable[[], None]) -> None:
        """Finish the runs this process holds, and release those that its grace is too short for.

        `on_release` is called before runs are released in the middle of a turn: their readers' streams end with them.
        """
        self.is_stopping = True
        logger.info("function.stopping", extra={"runs": len(self._executing)})
        if not await grace.wait(self._is_idle, until=grace.edges_at):
            for live in self.journal.live.values():
                live.edges_at = 0.0
        if not await grace.wait(self._is_idle, until=grace.release_at):
            self.is_releasing = True
            on_release()
            await self._release(grace)
        left = await self._see_taken(grace) if self._dispatch.has_address else set()
        for task in self._errands:
            task.cancel()
        await asyncio.gather(*self._errands, return_exceptions=True)
        await self._give_up(left)
        await self._dispatch.close()

    def _is_idle(self) -> bool:
        return not self._executing and not self._claiming

    async def _release(self, grace: Grace) -> None:
        """Cut what is open: all that was said is committed, and every lease is given back."""
        executing = list(self._executing.values())
        for task in executing:
            task.cancel()
        with suppress(TimeoutError, Unavailable):
            async with asyncio.timeout(grace.release_seconds):
                await asyncio.gather(*executing, return_exceptions=True)
                held = list(self.journal.live.values())
                self._released.update(await self.journal.release(held))
                self._released.update(live.next_run for live in held if live.next_run)
        for live in list(self.journal.live.values()):
            self.journal.close(live)

    async def _see_taken(self, grace: Grace) -> set[str]:
        """Send the runs this process leaves behind until others hold them; returns those that nobody took in time.

        It waits for deliveries, too: a request that is given up before its runner has started is lost.
        """
        left: set[str] = set()
        for look in count():
            with suppress(Unavailable):
                left = self._released | self._dispatch.sending
                left = await self._dispatch.unheld(left) if left else left
            if not left or not grace.seconds_left:
                break
            if look % _LOOKS_PER_SEND == 0:
                for run_id in left - self._dispatch.sending:
                    self.spawn(self._dispatch.send(run_id))
            await asyncio.sleep(min(self._settings.tick_seconds, grace.seconds_left))
        return left

    async def _give_up(self, run_ids: set[str]) -> None:
        """Leave runs to the next sweep or reader, whom the mark of a lost delivery would stop for a minute."""
        if run_ids:
            logger.warning("run.left_behind", extra={"runs": len(run_ids)})
            with suppress(Unavailable):
                await self._dispatch.clear(run_ids)
