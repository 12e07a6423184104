"""A model request as the body of a Response."""

from collections.abc import Sequence
from typing import Any

from shared.core import Item, Json
from shared.models.history import Image, context_text, text_of, visible_parts
from shared.models.members import present, tool_members
from shared.models.requests import ModelRequest, ModelSettings, ToolSpecification


def request_body(request: ModelRequest, model: str, origin: Json) -> Json:
    """The body of `POST /responses`. `origin` {api, base_url?}: only reasoning that came from there is sent back."""
    settings = request.settings
    return {
        "model": model,
        "instructions": request.instructions,
        "input": input_items(request, origin),
        "stream": True,
        "store": False,
        "include": ["reasoning.encrypted_content"],
        **tool_members(request, _tool, _named_tool),
        **_parameters(settings),
        **(settings.extra_body or {}),
    }


def input_items(request: ModelRequest, origin: Json) -> list[Json]:
    """The app's context and the thread, as input items."""
    entries: list[Json] = []
    if request.context:
        entries.append(_user_message(context_text(request.context)))
    call_ids: dict[str, str] = {}
    for item in request.items:
        provider_items = _provider_items(item, origin)
        entries += [each for each in provider_items if each.get("type") == "reasoning"]
        match item.kind:
            case "message" if item.data["role"] == "user":
                entries.append(_user_message(item.data["content"]))
            case "message":
                entries.append(_assistant_message(item, provider_items))
            case "tool_call":
                call_ids[item.key] = item.data.get("provider_id") or item.key
                entries.append(_call(item, call_ids[item.key]))
            case "tool_result":
                entries.append(_result(item, call_ids[item.data["call_id"]]))
    return entries


def _provider_items(item: Item, origin: Json) -> list[Json]:
    """The provider's own items that belong to an item, if they came from this API."""
    provider = dict(item.data.get("provider") or {})
    entries: list[Json] = provider.pop("items", [])
    return entries if provider == origin else []


def _user_message(content: Any) -> Json:
    parts = [_part(part) for part in visible_parts(content)]
    return {"type": "message", "role": "user", "content": parts}


def _part(part: str | Image) -> Json:
    if isinstance(part, Image):
        return {"type": "input_image", "image_url": part.url, "detail": "auto"}
    return {"type": "input_text", "text": part}


def _assistant_message(item: Item, provider_items: Sequence[Json]) -> Json:
    text = {"type": "output_text", "text": text_of(item.data["content"])}
    message: Json = {"type": "message", "role": "assistant", "content": [text]}
    # The messages of a turn are stored as one, with the phase of the last one.
    phases = [entry["phase"] for entry in provider_items if entry.get("type") == "message"]
    return {**message, "phase": phases[-1]} if phases else message


def _call(item: Item, call_id: str) -> Json:
    function = {"name": item.data["name"], "arguments": item.data["arguments"]}
    return {"type": "function_call", "call_id": call_id, **function}


def _result(item: Item, call_id: str) -> Json:
    output = text_of(item.data["content"])
    return {"type": "function_call_output", "call_id": call_id, "output": output}


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
