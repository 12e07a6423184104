"""What a function that answers runs is made of."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from shared.assistant import assistant
from shared.follow import Follow
from shared.holder import Holder
from shared.loop import Agent
from shared.model import OpenAIModel
from shared.settings import Settings

_WARM_SECONDS = 0.05


@asynccontextmanager
async def answering(
    app: Any, agent: Callable[[Settings], Agent] = assistant
) -> AsyncIterator[None]:
    """Use runs, answered by this agent: `app.state.holder` and `app.state.follow`, over `app.state.database`."""
    settings: Settings = app.state.settings
    model = OpenAIModel(settings)
    holder = Holder(app.state.database, agent(settings), model, settings)
    follow = Follow(
        holder.runs,
        app.state.database,
        holder.feed,
        tick=settings.tick_seconds,
        keep_alive=settings.keep_alive_seconds,
    )
    app.state.holder, app.state.follow = holder, follow
    working = [
        asyncio.ensure_future(work) for work in (holder.journal.run(), follow.run(), _warm(model))
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
        await model.close()


async def _warm(model: OpenAIModel) -> None:
    # Once the server listens: being ready must not wait for the SDK's import, nor share the interpreter with it.
    await asyncio.sleep(_WARM_SECONDS)
    await model.warm()
