"""Asking the model for one turn, again when it breaks off."""

import asyncio
import random
from collections.abc import AsyncIterator, Container
from contextlib import aclosing

from shared.agents.turn import Turn
from shared.core import Json, Step, logger
from shared.models import Model, ModelFailed


class Asking:
    """One turn, asked again when it breaks off: what it had said by then is taken back. `turn` is the last one."""

    def __init__(self, model: Model, client_tools: Container[str], attempts: int) -> None:
        self.turn = Turn(client_tools)
        self._model = model
        self._client_tools = client_tools
        self._attempts = attempts

    async def steps(self, messages: list[Json], specs: list[Json]) -> AsyncIterator[Step]:
        """What the model writes, as it comes.

        Raises:
            ModelFailed: after the last attempt.
        """
        for attempt in range(1, self._attempts + 1):
            self.turn = Turn(self._client_tools)
            try:
                async with aclosing(self._model.stream(messages, specs)) as batches:
                    async for parts in batches:
                        yield Step([draft for part in parts for draft in self.turn.take(part)])
                return
            except ModelFailed as failed:
                logger.warning("model.failed", extra={"code": failed.code, "attempt": attempt})
                if attempt == self._attempts or not failed.retryable:
                    raise
            if taken_back := self.turn.take_back("model_broke_off"):
                yield Step(taken_back, commits=True)
            await asyncio.sleep(random.uniform(0.2, 0.4) * 2**attempt)  # noqa: S311  # jitter
