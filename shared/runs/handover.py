"""Dispatches the runs that a stopping process leaves, and waits until other processes hold them."""

import asyncio
from contextlib import suppress
from itertools import count

from shared.core import Grace, RunSettings, Unavailable, logger
from shared.runs.dispatcher import Dispatcher
from shared.runs.waiting import WaitingRuns

#: With every fourth check, runs that no process holds are dispatched again.
_CHECKS_PER_DISPATCH = 4
#: What the last statements of a process may take.
_LAST_SECONDS = 1.0


class Handover:
    """The runs that wait for another process when this one stops: those it released, and those it is dispatching."""

    def __init__(self, waiting: WaitingRuns, dispatcher: Dispatcher, settings: RunSettings) -> None:
        self._waiting = waiting
        self._dispatcher = dispatcher
        self._tick = settings.tick_seconds
        self._run_ids: set[str] = set()

    def add(self, run_id: str) -> None:
        """Add a run that waits for another process."""
        self._run_ids.add(run_id)

    def remaining(self) -> set[str]:
        """The runs that may still wait for another process."""
        # A delivery is lost if this process exits before the runner has started, so runs in delivery count.
        return self._run_ids | self._dispatcher.runs_being_dispatched

    async def dispatch_until_claimed(self, grace: Grace) -> None:
        """Dispatch the runs, again and again, until other processes hold them or the grace is over."""
        if not self._dispatcher.has_address:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(grace.seconds_left):
                for check in count():
                    if await self._check_and_dispatch(dispatches=check % _CHECKS_PER_DISPATCH == 0):
                        return
                    await asyncio.sleep(self._tick)

    async def _check_and_dispatch(self, *, dispatches: bool) -> bool:
        """Check whether other processes hold all runs. If not, and if `dispatches`, dispatch the others again."""
        with suppress(Unavailable):
            run_ids = self.remaining()
            unheld = await self._waiting.unheld(run_ids) if run_ids else set()
            if not unheld:
                return True
            for run_id in unheld if dispatches else ():
                self._dispatcher.dispatch(run_id)
        return False

    async def clear_marks(self, run_ids: set[str]) -> None:
        """Clear the marks of runs that no process holds, so that the next sweep or reader can dispatch them at once."""
        if not run_ids:
            return
        with suppress(Unavailable, TimeoutError):
            async with asyncio.timeout(_LAST_SECONDS):
                if unheld := await self._waiting.unheld(run_ids):
                    logger.warning("run.left_behind", extra={"runs": len(unheld)})
                    await self._waiting.clear(unheld)
