"""Find a process for a run that no process holds: this one, or the one that a delivery reaches."""

import asyncio
from contextlib import suppress
from typing import TypeAlias

from shared.core import RunSettings, TooManyRuns, Unavailable, count_takeover
from shared.runs.background import BackgroundTasks
from shared.runs.dispatcher import Dispatcher
from shared.runs.executor import Executor
from shared.runs.handover import Handover
from shared.runs.live import LiveRun
from shared.runs.results import Leased, Over, Suspected
from shared.runs.store import RunStore
from shared.runs.waiting import WaitingRuns

#: Wait this much longer than a lease: Postgres's clock decides when it has expired.
_MARGIN_SECONDS = 0.1
#: How long after its second look a run that readers found without a holder is looked at again.
_RECOVER_SECONDS = 0.5
_RETRY_SECONDS = 2


#: What came of a claim: the attempt in this process. None: the run does not wait, or another process has it.
Claimed: TypeAlias = "asyncio.Task[None] | Suspected | None"


class Placement:
    """Claims runs for this process, and sends those it cannot take."""

    def __init__(
        self,
        store: RunStore,
        waiting: WaitingRuns,
        executor: Executor,
        dispatcher: Dispatcher,
        handover: Handover,
        background: BackgroundTasks,
        settings: RunSettings,
    ) -> None:
        self._store = store
        self._waiting = waiting
        self._executor = executor
        self._dispatcher = dispatcher
        self._handover = handover
        self._background = background
        self._second_look_seconds = settings.takeover_grace_seconds + _MARGIN_SECONDS
        #: Runs that readers found without a holder and that this process is recovering.
        self._recovering: set[str] = set()
        #: Runs of late holders that this process sends when their lease expires.
        self._watched: set[str] = set()

    def check_room(self) -> None:
        """Raises:
        TooManyRuns: this process is full, or it stops.
        """
        if self._executor.is_full:
            raise TooManyRuns(retry_after=_RETRY_SECONDS)

    def execute(self, leased: Leased) -> "asyncio.Task[None]":
        """Execute a run that this process was given; when the attempt ends, send the run that can be executed next."""
        return self._executor.start(leased, self._send_next)

    async def take(self, run_id: str) -> "asyncio.Task[None] | None":
        """Claim a run, with a second look where its holder may only be late. None: it does not wait here.

        Raises:
            TooManyRuns: this process is full, or it stops.
        """
        claimed = await self._claim(run_id)
        if isinstance(claimed, Suspected):
            claimed = await self._claim_later(run_id)
        return claimed if isinstance(claimed, asyncio.Task) else None

    async def place(self, run_id: str) -> None:
        """Execute a run here, or send it to a process that can. Returns before a second look."""
        if not await self._take_soon(run_id):
            self._send_elsewhere(run_id)

    def place_later(self, run_id: str) -> None:
        """Place a run in the background. Repeated calls for one run within its second look do nothing."""
        if run_id not in self._recovering:
            self._recovering.add(run_id)
            self._background.start(self._recover(run_id))

    def send(self, run_id: str, *, is_marked: bool = False) -> None:
        """Send a run in the background. Without a Broker or a runner, this process takes it."""
        if self._dispatcher.has_address:
            self._dispatcher.send(run_id, is_marked=is_marked)
        else:
            self._background.start(self._take_unsent(run_id))

    def send_after(self, run_id: str, seconds: float) -> None:
        """Send a run when its holder's lease has run out, that many seconds from now."""
        if run_id not in self._watched:
            self._watched.add(run_id)
            self._background.start(self._send_after(run_id, seconds))

    async def _claim(self, run_id: str) -> Claimed:
        if attempt := await self._executor.attempt_of(run_id):
            # Its next tick renews the lease. A repeated delivery stays open as long as the first.
            return attempt
        self.check_room()
        with self._executor.claiming():
            claimed = await self._store.claim(run_id)
            if isinstance(claimed, Leased):
                count_takeover(claimed.attempt, claimed.request)
                return self.execute(claimed)
        if isinstance(claimed, Over):
            if claimed.next_run:
                self.send(claimed.next_run)
            return None
        return claimed

    async def _claim_later(self, run_id: str) -> Claimed:
        await asyncio.sleep(self._second_look_seconds)
        return await self._claim(run_id)

    async def _take_soon(self, run_id: str) -> bool:
        """Claim a run, the second look in the background. False: this process cannot take it now."""
        try:
            if isinstance(await self._claim(run_id), Suspected):
                self._background.start(self._second_look(run_id))
        except (Unavailable, TooManyRuns):
            return False
        return True

    async def _second_look(self, run_id: str) -> None:
        try:
            await self._claim_later(run_id)
        except Unavailable:
            return
        except TooManyRuns:
            self._send_elsewhere(run_id)

    def _send_elsewhere(self, run_id: str) -> None:
        if self._dispatcher.has_address:
            self._dispatcher.send(run_id)

    async def _take_unsent(self, run_id: str) -> None:
        if not await self._take_soon(run_id):
            with suppress(Unavailable):
                await self._waiting.clear([run_id])

    def _send_next(self, live: LiveRun) -> None:
        if live.next_run:
            if self._executor.is_stopping:
                self._handover.note(live.next_run)
            # Not awaited: the delivery that started this attempt ends with it, and not with the next one.
            self.send(live.next_run)

    async def _recover(self, run_id: str) -> None:
        try:
            await self.place(run_id)
            await asyncio.sleep(self._second_look_seconds + _RECOVER_SECONDS)
        finally:
            self._recovering.discard(run_id)

    async def _send_after(self, run_id: str, seconds: float) -> None:
        try:
            await asyncio.sleep(seconds + _MARGIN_SECONDS)
        finally:
            self._watched.discard(run_id)
        self.send(run_id)
