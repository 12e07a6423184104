"""Decides where a run without a holder is executed: in this process, or in one that a delivery reaches."""

import asyncio
from contextlib import suppress
from typing import TypeAlias

from shared.core import (
    AgentUnavailable,
    RunSettings,
    TooManyRuns,
    Unavailable,
    measure_claim,
)
from shared.runs.agents import AgentNotLoaded, ExecutableAgents, Refusal
from shared.runs.background import BackgroundTasks
from shared.runs.dispatcher import Dispatcher
from shared.runs.executor import Executor
from shared.runs.handover import Handover
from shared.runs.live import LiveRun
from shared.runs.results import EndedByClaim, Leased, Suspected, UnknownAgent
from shared.runs.store import RunStore
from shared.runs.waiting import WaitingRuns

#: Wait this much longer than a lease: Postgres's clock decides when it has expired.
_MARGIN_SECONDS = 0.1
#: After its second look, a recovered run is left alone for this long before readers can have it recovered again.
_RECOVER_SECONDS = 0.5

#: How soon a client may try again at a process that is full or stops, seconds.
RETRY_SECONDS = 2
#: How soon a refused run may be delivered again, seconds.
_REFUSED_SECONDS = 5

#: The result of a claim: the attempt in this process, that a second look is needed, or that another process must
#: execute it. None: the run does not wait, or another process holds it.
ClaimResult: TypeAlias = "asyncio.Task[None] | Suspected | UnknownAgent | None"


class Placement:
    """Places runs: claims them for this process, or dispatches them.

    | for                                    | method                    | what happens                                |
    |----------------------------------------|---------------------------|---------------------------------------------|
    | a delivery                             | `claim_or_refuse`         | claimed, or refused                         |
    | a request that finds an unheld run     | `claim_or_dispatch`       | claimed, or dispatched                      |
    | a reader, with each tick               | `claim_or_dispatch_later` | the same, in the background                 |
    | an admission, ending, cancel or sweep  | `dispatch_or_claim`       | dispatched; claimed if there is no runner   |
    | a late holder that a sweep finds       | `dispatch_at_expiry`      | the same, when its lease expires            |

    A full process claims nothing, and neither does one that cannot execute the run's agent.
    """

    def __init__(
        self,
        store: RunStore,
        agents: ExecutableAgents,
        waiting: WaitingRuns,
        executor: Executor,
        dispatcher: Dispatcher,
        handover: Handover,
        background: BackgroundTasks,
        settings: RunSettings,
    ) -> None:
        self._store = store
        self._agents = agents
        self._waiting = waiting
        self._executor = executor
        self._dispatcher = dispatcher
        self._handover = handover
        self._background = background
        self._second_look_seconds = settings.takeover_grace_seconds + _MARGIN_SECONDS
        #: Runs that this process is recovering for their readers.
        self._recoveries: set[str] = set()
        #: Runs of late holders, which this process dispatches when their leases expire.
        self._late: set[str] = set()

    def check_room(self) -> None:
        """Raises:
        TooManyRuns: this process is full, or it stops.
        """
        if self._executor.is_full:
            raise TooManyRuns(retry_after=RETRY_SECONDS)

    def execute(self, leased: Leased) -> "asyncio.Task[None]":
        """Execute a run that was leased to this process, then dispatch the run that can continue after this attempt."""
        return self._executor.start(leased, self._dispatch_next)

    async def claim_or_refuse(self, run_id: str) -> "asyncio.Task[None] | None":
        """For a delivery: claim the run that it names, if necessary with a second look, and return the attempt.

        None: the run does not wait, or another process holds it.

        Raises:
            TooManyRuns: this process is full, or it stops.
            AgentUnavailable: this process cannot execute its agent.
        """
        result = await self._claim(run_id)
        if isinstance(result, Suspected):
            result = await self._claim_at_second_look(run_id, result)
        if isinstance(result, UnknownAgent):
            raise AgentUnavailable(retry_after=_REFUSED_SECONDS)
        return result if isinstance(result, asyncio.Task) else None

    async def claim_or_dispatch(self, run_id: str) -> None:
        """For a request that found a run without a holder: claim it, or dispatch it if this process cannot.

        Returns before a second look. Without a Broker or a runner, a run that this process cannot claim waits for the
        next reader or sweep.
        """
        if not await self._try_claim(run_id):
            self._dispatch(run_id)

    def claim_or_dispatch_later(self, run_id: str) -> None:
        """For a reader that found a run without a holder: `claim_or_dispatch` in the background.

        Further calls do nothing until the second look is over.
        """
        if run_id not in self._recoveries:
            self._recoveries.add(run_id)
            self._background.start(self._recover(run_id))

    def dispatch_or_claim(self, run_id: str, *, is_marked: bool = False) -> None:
        """For an admission, an ending, a cancel or a sweep: dispatch a waiting run in the background.

        Without a Broker or a runner, this process claims it instead.
        """
        if self._dispatcher.has_address:
            self._dispatcher.dispatch(run_id, is_marked=is_marked)
        else:
            self._background.start(self._claim_or_clear_mark(run_id))

    def dispatch_at_expiry(self, run_id: str, seconds: float) -> None:
        """For a sweep: dispatch the run of a late holder when its lease expires, that many seconds from now."""
        if run_id not in self._late:
            self._late.add(run_id)
            self._background.start(self._dispatch_at_expiry(run_id, seconds))

    async def _claim(self, run_id: str) -> ClaimResult:
        """Claim a run, and load its agent for that if this process can.

        Raises:
            TooManyRuns: this process is full, or it stops.
            AgentUnavailable: this process is a runner, and has refused the run.
        """
        result = await self._claim_if_loaded(run_id)
        if not isinstance(result, UnknownAgent):
            return result
        try:
            await self._agents.load(result.name)
        except AgentNotLoaded as error:
            if not error.refusal:
                return result
            await self._refuse(run_id, error.refusal)
            return None
        return await self._claim_if_loaded(run_id)

    async def _claim_if_loaded(self, run_id: str) -> ClaimResult:
        if attempt := await self._executor.attempt_of(run_id):
            # The attempt continues, and a second delivery of its run stays open as long as the first.
            return attempt
        self.check_room()
        with self._executor.count_claim():
            result = await self._store.claim(run_id, self._agents.names)
            if isinstance(result, Leased):
                measure_claim(result.attempt, result.request)
                return self.execute(result)
        if isinstance(result, EndedByClaim):
            self._continue_thread(result)
            return None
        return result

    async def _refuse(self, run_id: str, reason: Refusal) -> None:
        """Refuse a run, unless that ended it.

        Raises:
            AgentUnavailable: the run still waits.
        """
        ended = await self._store.refuse(run_id, reason)
        if not ended:
            raise AgentUnavailable(retry_after=_REFUSED_SECONDS)
        self._continue_thread(ended)

    def _continue_thread(self, ended: EndedByClaim) -> None:
        if ended.next_queued_run:
            self.dispatch_or_claim(ended.next_queued_run)

    async def _claim_at_second_look(self, run_id: str, suspected: Suspected) -> ClaimResult:
        await asyncio.sleep(suspected.seconds + _MARGIN_SECONDS)
        return await self._claim(run_id)

    async def _try_claim(self, run_id: str) -> bool:
        """Claim a run; a second look happens in the background. False: another process must claim it."""
        try:
            result = await self._claim(run_id)
        except (Unavailable, TooManyRuns):
            return False
        except AgentUnavailable:
            # This process is a runner, so dispatching the run changes nothing. The next sweep tries again.
            return True
        if isinstance(result, Suspected):
            self._background.start(self._look_again(run_id, result))
        return not isinstance(result, UnknownAgent)

    async def _look_again(self, run_id: str, suspected: Suspected) -> None:
        with suppress(Unavailable, AgentUnavailable):
            try:
                result = await self._claim_at_second_look(run_id, suspected)
                is_elsewhere = isinstance(result, UnknownAgent)
            except TooManyRuns:
                is_elsewhere = True
            if is_elsewhere:
                self._dispatch(run_id)

    def _dispatch(self, run_id: str) -> None:
        """Dispatch a run. Without a Broker or a runner, it waits for the next reader or sweep."""
        if self._dispatcher.has_address:
            self._dispatcher.dispatch(run_id)

    async def _claim_or_clear_mark(self, run_id: str) -> None:
        if not await self._try_claim(run_id):
            # No delivery is on its way, so the next sweep or reader need not wait for one.
            with suppress(Unavailable):
                await self._waiting.clear([run_id])

    def _dispatch_next(self, live: LiveRun) -> None:
        if live.waiting_run_id:
            if self._executor.is_stopping:
                self._handover.add(live.waiting_run_id)
            # Not awaited: the delivery that started this attempt ends with it, and not with the next one.
            self.dispatch_or_claim(live.waiting_run_id)

    async def _recover(self, run_id: str) -> None:
        try:
            await self.claim_or_dispatch(run_id)
            await asyncio.sleep(self._second_look_seconds + _RECOVER_SECONDS)
        finally:
            self._recoveries.discard(run_id)

    async def _dispatch_at_expiry(self, run_id: str, seconds: float) -> None:
        try:
            await asyncio.sleep(seconds + _MARGIN_SECONDS)
        finally:
            self._late.discard(run_id)
        self.dispatch_or_claim(run_id)
