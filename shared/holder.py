"""The one owner of runs whose work outlives a request: it holds them until they end, or this process must stop."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

from shared.assistant import assistant
from shared.contracts import Json
from shared.engine import Agent, NoTools, Toolbox, answer
from shared.follow import Feed, Follow
from shared.journal import Journal
from shared.log import bound, logger
from shared.model import Model, OpenAIModel
from shared.problems import ThreadBusy, TooManyRuns, Unavailable
from shared.runs import Leased, Runs, RunView
from shared.settings import Settings

#: What a stopping process may take to flush and release: on Knative SIGTERM comes after the drain.
_STOP_SECONDS = 1.0
_WARM_SECONDS = 0.05


class Holder:
    """Runs in the hands of this process: admits, takes up, follows and releases them."""

    def __init__(
        self,
        runs: Runs,
        journal: Journal,
        agent: Agent,
        model: Model,
        settings: Settings,
        toolbox: Toolbox | None = None,
    ) -> None:
        self.runs = runs
        self._journal = journal
        self._agent = agent
        self._model = model
        self._toolbox = toolbox or NoTools()
        self._settings = settings
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_stopping = False

    async def begin(self, claims: Json, request: Json) -> Leased | None:
        """Admit a run and start to answer it; None where it is queued, or was known already.

        Raises:
            TooManyRuns: this process is full, or it stops.
            ThreadBusy, and what else `Runs.begin` raises.
        """
        if self._is_stopping or len(self._tasks) >= self._settings.max_live_runs:
            raise TooManyRuns(retry_after=2)
        try:
            admitted = await self.runs.begin(claims, request)
        except ThreadBusy as busy:
            if busy.orphan:
                await self.take_up(busy.orphan)
            raise
        if isinstance(admitted, Leased):
            self._hold(admitted)
            return admitted
        if admitted.orphan:
            await self.take_up(admitted.orphan)
        return None

    async def take_up(self, run_id: str) -> None:
        """Answer a run that waits: queued on a free thread, or left by a process that died. Others may be faster."""
        if self._is_stopping or len(self._tasks) >= self._settings.max_live_runs:
            return
        with suppress(Unavailable):
            if leased := await self.runs.claim(run_id):
                logger.info("run.taken_up", extra={"run_id": run_id, "attempt": leased.attempt})
                self._hold(leased)

    async def meet(self, view: RunView) -> None:
        """Whoever meets a run that nobody holds takes it up."""
        if not view.has_ended and not view.held:
            await self.take_up(view.run_id)

    def feed(self, run_id: str) -> Feed | None:
        """The events of a run that lives in this process."""
        live = self._journal.live.get(run_id)
        return live.feed if live else None

    def cancel(self, run_id: str) -> None:
        """End a run that lives here at once, not with the next tick. Its owner's right was checked."""
        live = self._journal.live.get(run_id)
        if live and not live.cancel_asked and live.on_stop:
            live.cancel_asked = True
            live.on_stop()

    def leave(self, claims: Json, view: RunView, request_id: str) -> None:
        """The client of a run that should not outlive it has gone."""

        async def cancel() -> None:
            run_id, _ = await self.runs.cancel(claims, view.run_key, request_id)
            self.cancel(run_id)

        if not self._is_stopping:
            self._spawn(cancel())

    def _hold(self, leased: Leased) -> None:
        self._spawn(self._answer(leased))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, leased: Leased) -> None:
        live = self._journal.open(leased)
        task = asyncio.current_task()
        live.on_stop = task.cancel if task else None
        user_id = leased.claims.get("sub")
        with bound(run_id=leased.run_key, thread_id=leased.thread_key, user_id=user_id):
            logger.info("run.started", extra={"attempt": leased.attempt})
            try:
                await answer(
                    live,
                    self._journal,
                    self._agent,
                    self._model,
                    self._toolbox,
                    seconds=self._settings.run_deadline_seconds,
                )
            finally:
                if not self._is_stopping:
                    self._journal.close(live)
            logger.info(
                "run.left" if live.is_lost else "run.ended", extra={"events": live.committed}
            )
        if live.next_run:
            await self.take_up(live.next_run)

    async def stop(self) -> None:
        """Stop answering: what was said is committed, and every lease is given back, within a second."""
        self._is_stopping = True
        for task in self._tasks:
            task.cancel()
        with suppress(TimeoutError, Unavailable):
            async with asyncio.timeout(_STOP_SECONDS):
                await asyncio.gather(*self._tasks, return_exceptions=True)
                await self._journal.release()
        for live in list(self._journal.live.values()):
            self._journal.close(live)


@asynccontextmanager
async def answering(app: Any) -> AsyncIterator[None]:
    """Use runs: `app.state.holder` and `app.state.follow`, over `app.state.database`."""
    settings: Settings = app.state.settings
    runs, journal = Runs(app.state.database, settings), Journal(app.state.database, settings)
    model = OpenAIModel(settings)
    holder = Holder(runs, journal, assistant(settings), model, settings)
    follow = Follow(
        runs,
        app.state.database,
        holder.feed,
        tick=settings.tick_seconds,
        keep_alive=settings.keep_alive_seconds,
    )
    app.state.holder, app.state.follow = holder, follow
    working = [asyncio.ensure_future(work) for work in (journal.run(), follow.run(), _warm(model))]

    async def stop() -> None:
        await holder.stop()
        follow.stop()

    app.state.stop = stop
    try:
        yield
    finally:
        await stop()
        for task in working:
            task.cancel()
        await asyncio.gather(*working, return_exceptions=True)
        await model.close()


async def _warm(model: OpenAIModel) -> None:
    # Once the server listens: being ready must not wait for the SDK's import, nor share the interpreter with it.
    await asyncio.sleep(_WARM_SECONDS)
    await model.warm()
