"""What a function that executes runs is made of."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from shared.agents import execute_run, load_validation
from shared.auth import Minter
from shared.core import Grace, InvalidSettings, Settings
from shared.http.binding import AgentBinder
from shared.http.loading import AgentSource, LoadedAgents
from shared.http.process import Process
from shared.http.watchdog import LoopWatchdog
from shared.mcp import McpTools
from shared.runs import LiveRun, LogReader, LogWriter, RunStore, RunWorker, WaitingRuns


@dataclass(frozen=True, slots=True)
class RunServices:
    """Runs as a function's routes use them."""

    store: RunStore
    writer: LogWriter
    worker: RunWorker
    reader: LogReader
    agents: LoadedAgents

    async def finish(self, grace: Grace) -> None:
        """Finish the runs this process holds; release those that its grace is too short for, and see them taken."""
        if not await self.worker.finish(grace):
            # The streams of runs that are cut end with them.
            self.reader.close()
            await self.worker.release(grace)
        await self.worker.hand_over(grace)

    async def close(self, grace: Grace) -> None:
        self.reader.close()
        await self.worker.close(grace)


@asynccontextmanager
async def run_services(process: Process, agents: AgentSource) -> AsyncIterator[RunServices]:
    """The services of a function that executes the runs of these agents.

    Raises:
        InvalidSettings: a setting that one of them needs is missing.
    """
    settings, database = process.settings, process.database
    mcp = McpTools(settings, database, _minter(process))
    binder = AgentBinder(settings, database, mcp)
    loaded = agents.loaded_by(binder, settings)
    store, writer = RunStore(database, settings), LogWriter(database, settings)
    watchdog = LoopWatchdog()
    execute = _make_execute(loaded, store, settings, watchdog)
    worker = RunWorker(store, WaitingRuns(database, settings), writer, loaded, execute, settings)
    times = {"tick": settings.tick_seconds, "keep_alive": settings.keep_alive_seconds}
    reader = LogReader(store, database, writer.feed, worker.recover_later, **times)
    services = RunServices(store, writer, worker, reader, loaded)
    # In the order in which a run's first token needs them; the pool comes before.
    process.after_ready += [mcp.warm, binder.warm, partial(asyncio.to_thread, load_validation)]
    process.finish_with(partial(services.finish, process.grace))
    loops = [asyncio.ensure_future(work) for work in (writer.run(), reader.run())]
    try:
        yield services
    finally:
        await services.close(process.grace)
        watchdog.close()
        for loop in loops:
            loop.cancel()
        await asyncio.gather(*loops, return_exceptions=True)
        await mcp.close()
        await binder.close()


def _make_execute(
    agents: LoadedAgents, store: RunStore, settings: Settings, watchdog: LoopWatchdog
) -> Callable[[LiveRun], Coroutine[Any, Any, None]]:
    """What drives a run to its ending, with its agent."""

    async def execute(live: LiveRun) -> None:
        agent = agents[live.leased.agent]
        read_tokens_left = partial(store.tokens_left, live.leased.claims)
        seconds = settings.run_deadline_seconds
        with watchdog.watch():
            await execute_run(live, agent, seconds=seconds, read_tokens_left=read_tokens_left)

    return execute


def _minter(process: Process) -> Minter | None:
    """Signs requests to our own tools, where there are any."""
    settings = process.settings
    if not settings.tools_url:
        return None
    settings.require("internal_signing_key")
    try:
        return Minter(process.name, settings.internal_signing_key)
    except ValueError as error:
        raise InvalidSettings(f"{error}.") from None
