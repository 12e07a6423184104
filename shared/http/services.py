"""What a function that answers runs is made of."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from shared.agents import Agent, NoTools, answer, assistant, load_validation
from shared.auth import Minter
from shared.core import InvalidSettings, Once, Settings
from shared.mcp import McpTools
from shared.models import OpenAIModel
from shared.runs import LiveRun, LogReader, LogWriter, RunStore, RunWorker


@asynccontextmanager
async def run_services(
    app: Any, agent: Callable[[Settings], Agent] = assistant
) -> AsyncIterator[None]:
    """Use runs: `app.state.holder` and `app.state.follow`, over `app.state.database`.

    They are answered by this agent, which has the tools of the settings' servers unless it brings its own.
    """
    settings: Settings = app.state.settings
    model, answers = OpenAIModel(settings), agent(settings)
    tools = McpTools(settings, app.state.database, _minter(app))
    if isinstance(answers.tools, NoTools):
        answers = replace(answers, tools=tools)
    runs, journal = RunStore(app.state.database, settings), LogWriter(app.state.database, settings)

    async def execute(live: LiveRun) -> None:
        claims = live.leased.claims
        seconds = settings.run_deadline_seconds
        left = partial(runs.tokens_left, claims)
        await answer(live, journal, answers, model, seconds=seconds, tokens_left=left)

    holder = RunWorker(app.state.database, runs, journal, execute, settings)
    follow = LogReader(
        runs,
        app.state.database,
        holder.feed,
        holder.notice,
        tick=settings.tick_seconds,
        keep_alive=settings.keep_alive_seconds,
    )
    app.state.holder, app.state.follow, app.state.tools = holder, follow, tools
    # Behind the pool, which the first statement needs: what the first token does.
    app.state.warm += [tools.warm, model.warm, partial(asyncio.to_thread, load_validation)]
    working = [asyncio.ensure_future(work) for work in (journal.run(), follow.run())]
    # Once: the server stops the runs while it still listens, and then leaves this block.
    stop = app.state.stop = Once(lambda: holder.stop(app.state.grace, follow.stop))
    try:
        yield
    finally:
        app.state.grace.start()
        await stop()
        follow.stop()
        await holder.close(app.state.grace)
        for task in working:
            task.cancel()
        await asyncio.gather(*working, return_exceptions=True)
        await tools.close()
        await model.close()


def _minter(app: Any) -> Minter | None:
    settings: Settings = app.state.settings
    if not settings.tools_url:
        return None
    settings.require("internal_signing_key")
    try:
        return Minter(app.state.name, settings.internal_signing_key)
    except ValueError as error:
        raise InvalidSettings(str(error)) from None
