"""The runs that a stopping process leaves to others: sent, and watched until another process holds each of them."""

import asyncio
from contextlib import suppress
from itertools import count

from shared.core import Grace, RunSettings, Unavailable, logger
from shared.runs.dispatcher import Dispatcher
from shared.runs.waiting import WaitingRuns

#: With every fourth look, runs that no process holds are sent again.
_LOOKS_PER_SEND = 4
#: What the last statements of a process may take.
_LAST_SECONDS = 1.0


class Handover:
    """Sees released runs, and deliveries in progress, taken by another process before this one exits."""

    def __init__(self, waiting: WaitingRuns, dispatcher: Dispatcher, settings: RunSettings) -> None:
        self._waiting = waiting
        self._dispatcher = dispatcher
        self._tick = settings.tick_seconds
        self._left: set[str] = set()

    def note(self, run_id: str) -> None:
        """Note a run that waits for a process while this one stops."""
        self._left.add(run_id)

    @property
    def _runs(self) -> set[str]:
        # A delivery that is given up before its runner has started is lost, so those count, too.
        return self._left | self._dispatcher.sending

    async def until_taken(self, grace: Grace) -> None:
        """Send the runs until other processes hold them, or the grace is over."""
        if not self._dispatcher.has_address:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(grace.seconds_left):
                for look in count():
                    if await self._are_taken(sends=look % _LOOKS_PER_SEND == 0):
                        return
                    await asyncio.sleep(self._tick)

    async def _are_taken(self, *, sends: bool) -> bool:
        with suppress(Unavailable):
            unheld = await self._waiting.unheld(self._runs) if self._runs else set()
            if not unheld:
                return True
            for run_id in unheld if sends else ():
                self._dispatcher.send(run_id)
        return False

    def remaining(self) -> set[str]:
        """The runs that may still wait for a process."""
        return set(self._runs)

    async def clear_marks(self, run_ids: set[str]) -> None:
        """Clear the marks of lost deliveries: the next sweep or reader need not wait a minute to send the runs."""
        if not run_ids:
            return
        with suppress(Unavailable, TimeoutError):
            async with asyncio.timeout(_LAST_SECONDS):
                if unheld := await self._waiting.unheld(run_ids):
                    logger.warning("run.left_behind", extra={"runs": len(unheld)})
                    await self._waiting.clear(unheld)
