"""Checks of the model: it answers in a stream, and calls a tool."""

from collections.abc import Iterator
from contextlib import aclosing
from functools import partial
from typing import Final

from shared.core import Item, Settings
from shared.doctor.checks import Check, Failed
from shared.models import (
    ModelEvent,
    ModelFailed,
    ModelRequest,
    OpenAIModel,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    ToolSpecification,
    provider_of,
)

_ANSWERS: Final = "model"
_SECONDS: Final = 60.0
_TOOL: Final = ToolSpecification(
    "report",
    "Report the answer.",
    {"type": "object", "properties": {"answer": {"type": "string"}}, "required": ["answer"]},
)
#: What to do, by the status of the server's answer.
_BY_STATUS: Final = {
    401: "the server refuses the key (401): check OPENAI_API_KEY",
    402: "the account has no credit (402)",
    403: "the key has no right to this (403): check OPENAI_API_KEY and OPENAI_MODEL",
    404: "the server has no such model or address (404): check OPENAI_MODEL, and OPENAI_BASE_URL, which usually ends in"
    " /v1",
    429: "the account has reached a limit, or has no credit (429)",
}
#: The same, by the code of the failure.
_BY_CODE: Final = {
    "model_unreachable": "the model's server cannot be reached: check OPENAI_BASE_URL and this network's way out",
    "model_timeout": "the model does not answer in time: try again, or raise MODEL_SILENCE_SECONDS",
}


def model_checks(settings: Settings) -> Iterator[Check]:
    """The model of OPENAI_MODEL; of other providers, the addresses and keys."""
    seconds = min(settings.model_turn_seconds, _SECONDS)
    yield Check(name=_ANSWERS, run=partial(_answers, settings), seconds=seconds)
    tools = partial(_calls_tool, settings)
    yield Check(name="model's tools", run=tools, seconds=seconds, needs=_ANSWERS)
    for name in sorted({key.rpartition("_BASE_")[0] for key in settings.model_providers} - {""}):
        yield Check(name=f"provider {name.lower()}", run=partial(_read_provider, settings, name))


async def _answers(settings: Settings) -> str:
    if not settings.openai_base_url:
        # Other servers than OpenAI's may need no key.
        settings.require("openai_api_key")
    request = _request("Reply with one word: ok")
    if not await _has_event(settings, request, TextDelta, ReasoningDelta):
        raise Failed("the model sent no text: choose another OPENAI_MODEL.")
    return f"{settings.openai_model} streams"


async def _calls_tool(settings: Settings) -> str:
    request = _request("Call the tool `report` with the answer: ok", _TOOL)
    if not await _has_event(settings, request, ToolCallDelta):
        raise Failed(
            "the model answered without calling the tool: choose a model that calls tools, or expect no tool calls."
        )
    return f"{settings.openai_model} calls tools"


async def _read_provider(settings: Settings, name: str) -> str:
    provider_of(settings, name)
    return "its address and key can be used"


def _request(text: str, *tools: ToolSpecification) -> ModelRequest:
    question = Item("question", "message", {"role": "user", "content": text})
    instructions = "Follow the user's instructions exactly."
    return ModelRequest(items=[question], instructions=instructions, tools=tools)


async def _has_event(settings: Settings, request: ModelRequest, *kinds: type[ModelEvent]) -> bool:
    """Whether a turn has an event of these kinds. What comes after it is not read."""
    model = OpenAIModel(settings)
    try:
        async with aclosing(model.stream(request)) as batches:
            async for batch in batches:
                if any(isinstance(event, kinds) for event in batch):
                    return True
        return False
    except ModelFailed as error:
        raise Failed(f"{_remedy(error, has_tools=bool(request.tools))}.") from None
    finally:
        await model.close()


def _remedy(error: ModelFailed, *, has_tools: bool) -> str:
    status = error.status
    if status in (400, 422):
        if has_tools:
            return f"the server refuses tools ({status}): choose a model that calls tools"
        return f"the server refuses the request ({status}): check OPENAI_MODEL and OPENAI_API"
    if status is not None:
        return _BY_STATUS.get(status, f"the model's server fails ({status}): try again")
    return _BY_CODE.get(error.code, f"the model failed ({error.code})")
