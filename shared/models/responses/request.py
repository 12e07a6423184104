"""A model request as the body of a Response."""

from collections.abc import Iterable, Mapping

from shared.core import Json
from shared.models.alternation import joined
from shared.models.call_ids import call_ids
from shared.models.content import Part
from shared.models.conversation import AnsweredCall, AssistantMessage, UserMessage
from shared.models.history import conversation
from shared.models.members import cache_members, present, tool_members
from shared.models.provider_data import items_from
from shared.models.requests import ModelRequest, ModelSettings, ToolSpecification
from shared.models.user_parts import user_parts


def request_body(request: ModelRequest, model: str, origin: Json) -> Json:
    """The body of `POST /responses`. `origin` {api, base_url?}: only reasoning that came from there is sent back."""
    settings = request.settings
    return {
        "model": model,
        **({"instructions": request.instructions} if request.instructions.strip() else {}),
        "input": input_items(request, origin),
        "stream": True,
        "store": False,
        "include": ["reasoning.encrypted_content"],
        **tool_members(request, _tool, _named_tool),
        **cache_members(request, origin.get("base_url", "")),
        **_parameters(settings),
        **(settings.extra_body or {}),
    }


def input_items(request: ModelRequest, origin: Json) -> list[Json]:
    """The conversation as input items."""
    entries: list[Json] = []
    sent = conversation(request)
    ids = call_ids(sent, origin)
    for message in sent:
        if isinstance(message, UserMessage):
            entries.append(_user_message(message.parts))
            continue
        entries += _reasoning(message.provider, origin)
        if message.text:
            entries.append(_assistant_message(message, origin))
        for call in message.calls:
            entries += [*_reasoning(call.provider, origin), _call(call, ids)]
        entries += [_result(call, ids) for call in message.calls]
    return entries


def _reasoning(provider: Json, origin: Json) -> list[Json]:
    """The reasoning that comes before a message or call, if it came from this API."""
    return [each for each in items_from(provider, origin) if each.get("type") == "reasoning"]


def _user_message(parts: Iterable[Part]) -> Json:
    content = user_parts(joined(parts), "responses")
    return {"type": "message", "role": "user", "content": content}


def _assistant_message(message: AssistantMessage, origin: Json) -> Json:
    text = {"type": "output_text", "text": message.text}
    entry: Json = {"type": "message", "role": "assistant", "content": [text]}
    # The messages of a turn are stored as one, with the phase of the last one.
    provider_items = items_from(message.provider, origin)
    phases = [each["phase"] for each in provider_items if each.get("type") == "message"]
    return {**entry, "phase": phases[-1]} if phases else entry


def _call(call: AnsweredCall, ids: Mapping[str, str]) -> Json:
    function = {"name": call.name, "arguments": call.arguments}
    return {"type": "function_call", "call_id": ids[call.key], **function}


def _result(call: AnsweredCall, ids: Mapping[str, str]) -> Json:
    return {"type": "function_call_output", "call_id": ids[call.key], "output": call.result}


def _tool(tool: ToolSpecification) -> Json:
    # This API's default is strict, which refuses most schemas that were not written for it.
    return {
        "type": "function",
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters,
        "strict": False,
    }


def _named_tool(name: str) -> Json:
    return {"type": "function", "name": name}


def _parameters(settings: ModelSettings) -> Json:
    effort = settings.reasoning_effort
    return present(
        temperature=settings.temperature,
        top_p=settings.top_p,
        max_output_tokens=settings.max_output_tokens,
        reasoning=effort and {"effort": effort, "summary": "auto"},
        text=_text(settings) or None,
    )


def _text(settings: ModelSettings) -> Json:
    text: Json = {}
    if settings.verbosity is not None:
        text["verbosity"] = settings.verbosity
    if settings.output_schema is not None:
        # Not strict, as with tools: any JSON Schema will do.
        format_ = {"type": "json_schema", "name": "output", "strict": False}
        text["format"] = {**format_, "schema": settings.output_schema}
    return text
