"""One model turn, requested again if its stream breaks off."""

import asyncio
import random
from collections.abc import AsyncIterator, Container, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace

from shared.agents.bound import ModelChoice
from shared.agents.tools import Tool
from shared.agents.turn import TurnRecorder
from shared.core import Json, Step, logger
from shared.models import ModelFailed, ModelRequest, ToolSpecification, estimated_usage


def specifications(
    tools: Mapping[str, Tool], client_tools: Mapping[str, Json]
) -> list[ToolSpecification]:
    """The tools of a turn: those of the server, and those of the app, which replace the server's of the same name."""
    ours = [
        ToolSpecification(tool.name, tool.description, tool.parameters, tool.priority)
        for tool in tools.values()
        if tool.name not in client_tools
    ]
    return ours + [
        ToolSpecification(name, tool.get("description") or "", tool.get("parameters") or {})
        for name, tool in client_tools.items()
    ]


class ModelTurn:
    """One turn of a model. If a stream breaks off, its items are taken back and the turn is tried again.

    If a model fails before its first token, the agent's next model gets the request at once. `recorder` has the items
    of the last try. When `steps` has ended, they are the turn's.
    """

    def __init__(
        self, models: Sequence[ModelChoice], client_tools: Container[str], max_tries: int
    ) -> None:
        self.recorder = TurnRecorder(client_tools)
        self._models = models
        self._client_tools = client_tools
        self._max_tries = max_tries

    async def steps(self, request: ModelRequest) -> AsyncIterator[Step]:
        """What the model writes, as it arrives.

        Raises:
            ModelFailed: the last model failed; or one failed after its first token, in its last try or in a way that
                another try cannot help.
        """
        for nth, model in enumerate(self._models, 1):
            is_last = nth == len(self._models)
            try:
                async for step in self._steps_of(model, request, is_last=is_last):
                    yield step
                return
            except ModelFailed as failed:
                if is_last or self.recorder.has_started:
                    raise
                logger.warning("model.fallback", extra=failed.facts)

    async def _steps_of(
        self, model: ModelChoice, request: ModelRequest, *, is_last: bool
    ) -> AsyncIterator[Step]:
        for_model = replace(request, settings=model.settings)
        for try_number in range(1, self._max_tries + 1):
            self.recorder = recorder = TurnRecorder(self._client_tools)
            try:
                async with aclosing(model.client.stream(for_model)) as batches:
                    async for events in batches:
                        yield Step([draft for event in events for draft in recorder.record(event)])
                if recorder.usage.total == 0:
                    recorder.usage = estimated_usage(for_model, recorder.written, recorder.usage)
                return
            except ModelFailed as failed:
                logger.warning("model.failed", extra={**failed.facts, "try": try_number})
                has_fallback = not is_last and not recorder.has_started
                if has_fallback or try_number == self._max_tries or not failed.retryable:
                    raise
            if aborts := recorder.take_back("model_broke_off"):
                yield Step(aborts, commits=True)
            await asyncio.sleep(random.uniform(0.2, 0.4) * 2**try_number)  # noqa: S311  # jitter
