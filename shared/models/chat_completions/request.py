"""A model request as the body of a Chat Completion."""

from itertools import pairwise
from typing import Any

from shared.core import Item, Json
from shared.models.history import (
    Image,
    context_text,
    opens_message,
    text_of,
    visible_parts,
)
from shared.models.members import present, tool_members
from shared.models.requests import ModelRequest, ModelSettings, ToolSpecification


def request_body(request: ModelRequest, model: str) -> Json:
    """The body of `POST /chat/completions`."""
    settings = request.settings
    return {
        "model": model,
        "messages": messages(request),
        "stream": True,
        "stream_options": {"include_usage": True},
        **tool_members(request, _tool, _named_tool),
        **_parameters(settings),
        **(settings.extra_body or {}),
    }


def messages(request: ModelRequest) -> list[Json]:
    """The instructions, the app's context and the thread, as messages by role."""
    entries: list[Json] = [{"role": "system", "content": request.instructions}]
    if request.context:
        entries.append({"role": "user", "content": context_text(request.context)})
    items = [item for item in request.items if item.kind != "reasoning"]
    provider_ids = {item.key: _provider_id(item) for item in items if item.kind == "tool_call"}
    for previous, item in pairwise([None, *items]):
        if item is None:
            continue
        match item.kind:
            case "message":
                entries.append(_message(item))
            case "tool_call":
                if opens_message(item, previous):
                    entries.append({"role": "assistant", "content": None})
                entries[-1].setdefault("tool_calls", []).append(_call(item))
            case _:
                provider_id = provider_ids[item.data["call_id"]]
                content = text_of(item.data["content"])
                entries.append({"role": "tool", "tool_call_id": provider_id, "content": content})
    return entries


def _message(item: Item) -> Json:
    content = item.data["content"]
    if item.data["role"] != "user":
        return {"role": "assistant", "content": content}
    return {"role": "user", "content": _user_content(content)}


def _user_content(content: Any) -> str | list[Json]:
    if isinstance(content, str):
        return content
    return [_part(part) for part in visible_parts(content)] or ""


def _part(part: str | Image) -> Json:
    if isinstance(part, Image):
        return {"type": "image_url", "image_url": {"url": part.url}}
    return {"type": "text", "text": part}


def _call(item: Item) -> Json:
    function = {"name": item.data["name"], "arguments": item.data["arguments"]}
    return {"id": _provider_id(item), "type": "function", "function": function}


def _provider_id(item: Item) -> str:
    # Providers repeat ids such as `call_0`, and some give none, so that theirs is only ever sent back to them.
    return item.data.get("provider_id") or item.key


def _tool(tool: ToolSpecification) -> Json:
    function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {"type": "function", "function": function}


def _named_tool(name: str) -> Json:
    return {"type": "function", "function": {"name": name}}


def _parameters(settings: ModelSettings) -> Json:
    schema = settings.output_schema
    return present(
        temperature=settings.temperature,
        top_p=settings.top_p,
        reasoning_effort=settings.reasoning_effort,
        verbosity=settings.verbosity,
        max_completion_tokens=settings.max_output_tokens,
        response_format=schema and _response_format(schema),
    )


def _response_format(schema: Json) -> Json:
    # Not strict: that allows a part of JSON Schema only, and servers refuse the rest.
    return {
        "type": "json_schema",
        "json_schema": {"name": "output", "schema": schema, "strict": False},
    }
