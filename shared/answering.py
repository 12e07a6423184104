"""What a function that answers runs is made of."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from shared import schemas
from shared.assistant import assistant
from shared.callers import Minter
from shared.database import Database
from shared.discovery import McpTools
from shared.follow import Follow
from shared.garbage import loading
from shared.holder import Holder
from shared.loop import Agent
from shared.model import OpenAIModel
from shared.settings import InvalidSettings, Settings
from shared.tools import NoTools

_WARM_SECONDS = 0.05


@asynccontextmanager
async def answering(
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
    holder = Holder(app.state.database, answers, model, settings)
    follow = Follow(
        holder.runs,
        app.state.database,
        holder.feed,
        holder.notice,
        tick=settings.tick_seconds,
        keep_alive=settings.keep_alive_seconds,
    )
    app.state.holder, app.state.follow = holder, follow
    working = [
        asyncio.ensure_future(work)
        for work in (holder.journal.run(), follow.run(), _warm(app.state.database, tools, model))
    ]

    async def stop() -> None:
        # Readers first: they get what is still committed, and do not look elsewhere for more.
        follow.stop()
        await holder.stop()

    app.state.stop = stop
    try:
        yield
    finally:
        await stop()
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


async def _warm(database: Database, tools: McpTools, model: OpenAIModel) -> None:
    # Once the server listens: being ready must not wait for the SDK's import, nor share the interpreter with it. First
    # what the first statement needs, then what the first token does.
    await asyncio.sleep(_WARM_SECONDS)
    await database.warm()
    await tools.warm()
    with loading():
        await model.warm()
        await asyncio.to_thread(schemas.warm)
