"""The runs this process answers, until they end or it must stop: then all is committed and every lease given back."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from shared.database import Database
from shared.dispatch import Dispatch
from shared.engine import DeadlineReached, answer
from shared.genai import run
from shared.journal import Journal
from shared.live import LiveRun
from shared.log import bound, logger
from shared.loop import Agent
from shared.model import Model
from shared.problems import Unavailable
from shared.runs import Leased, Runs
from shared.settings import Settings

#: What a stopping process may take to flush and release: on Knative SIGTERM comes after the drain.
_STOP_SECONDS = 1.0


class Execution:
    """Owns the work of this process that outlives a request."""

    def __init__(
        self,
        database: Database,
        runs: Runs,
        dispatch: Dispatch,
        agent: Agent,
        model: Model,
        settings: Settings,
    ) -> None:
        self.journal = Journal(database, settings)
        self.is_stopping = False
        self._database = database
        self._runs = runs
        self._dispatch = dispatch
        self._agent = agent
        self._model = model
        self._settings = settings
        self._tasks: set[asyncio.Task[None]] = set()

    async def hold(self, leased: Leased) -> asyncio.Task[None] | None:
        """Start to answer a run that was just leased; None where this process stops, and gave it back."""
        if self.is_stopping:
            held = [{"run_id": leased.run_id, "token": leased.token}]
            await self._database.call("release_runs", held)
            await self._dispatch.hand_over(leased.run_id)
            return None
        task = asyncio.ensure_future(self._answer(self.journal.open(leased)))
        self._keep(task)
        return task

    def spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        """Let work go on that no request waits for, until this process stops."""
        self._keep(asyncio.ensure_future(work))

    def _keep(self, task: asyncio.Task[Any]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, live: LiveRun) -> None:
        leased = live.leased
        task = asyncio.current_task()
        live.on_stop = task.cancel if task else None
        ids = {"run_id": leased.run_key, "thread_id": leased.thread_key}
        with (
            run(leased.run_key, leased.thread_key, leased.attempt, leased.request) as span,
            bound(**ids, user_id=leased.claims.get("sub")),
        ):
            logger.info("run.started", extra={"attempt": leased.attempt})
            try:
                await self._drive(live)
            finally:
                if not self.is_stopping:
                    self.journal.close(live)
                if live.is_lost:
                    span.fail("lease_lost")
            logger.info(
                "run.left" if live.is_lost else "run.ended", extra={"events": live.committed}
            )
        if live.next_run:
            await self._dispatch.send(live.next_run)

    async def _drive(self, live: LiveRun) -> None:
        leased = live.leased
        try:
            await answer(
                live,
                self.journal,
                self._agent,
                self._model,
                seconds=self._settings.run_deadline_seconds,
                tokens_left=lambda: self._runs.tokens_left(leased.claims),
            )
        except DeadlineReached:
            logger.info("run.handed_on")
            # A cancel that comes now is for whoever goes on with it.
            live.on_stop = None
            for run_id in await self.journal.release([live]):
                live.next_run = run_id

    async def stop(self) -> None:
        """Stop answering: what was said is committed, and every lease is given back, within a second."""
        self.is_stopping = True
        for task in self._tasks:
            task.cancel()
        with suppress(TimeoutError, Unavailable):
            async with asyncio.timeout(_STOP_SECONDS):
                await asyncio.gather(*self._tasks, return_exceptions=True)
                held = list(self.journal.live.values())
                waiting = await self.journal.release(held)
                waiting += [live.next_run for live in held if live.next_run]
                await asyncio.gather(*map(self._dispatch.hand_over, waiting))
        for live in list(self.journal.live.values()):
            self.journal.close(live)
        await self._dispatch.close()
