"""A model request as the body of a Chat Completion."""

from collections.abc import Iterable, Mapping

from shared.core import Json
from shared.models.alternation import joined
from shared.models.call_ids import call_ids
from shared.models.chat_completions.foreign_calls import complete_calls
from shared.models.content import Part
from shared.models.conversation import AnsweredCall, AssistantMessage, UserMessage
from shared.models.history import conversation
from shared.models.members import cache_members, present, tool_members
from shared.models.provider_data import items_from
from shared.models.requests import ModelRequest, ModelSettings, ToolSpecification
from shared.models.user_parts import user_parts


def request_body(request: ModelRequest, model: str, origin: Json) -> Json:
    """The body of `POST /chat/completions`. `origin` {api, base_url?}: only data that came from there is sent back."""
    settings = request.settings
    return {
        "model": model,
        "messages": messages(request, model, origin),
        "stream": True,
        "stream_options": {"include_usage": True},
        **tool_members(request, _tool, _named_tool),
        **cache_members(request, origin.get("base_url", "")),
        **_parameters(settings),
        **(settings.extra_body or {}),
    }


def messages(request: ModelRequest, model: str, origin: Json) -> list[Json]:
    """The instructions and the conversation, as messages by role."""
    entries: list[Json] = []
    if request.instructions.strip():
        entries.append({"role": "system", "content": request.instructions})
    sent = conversation(request)
    ids = call_ids(sent, origin)
    for message in sent:
        if isinstance(message, UserMessage):
            entries.append({"role": "user", "content": _user_content(message.parts)})
            continue
        entry = _assistant_message(message, ids, origin)
        if message.calls:
            complete_calls(entry, origin.get("base_url", ""), model)
        results = (_result(call, ids) for call in message.calls)
        entries += [entry, *results]
    return entries


def _user_content(parts: Iterable[Part]) -> str | list[Json]:
    merged = joined(parts)
    if len(merged) == 1 and isinstance(merged[0], str):
        # Every server takes a text; some take no list.
        return merged[0]
    return user_parts(merged, "chat_completions")


def _assistant_message(message: AssistantMessage, ids: Mapping[str, str], origin: Json) -> Json:
    entry: Json = {"role": "assistant", "content": message.text or None}
    if message.calls:
        entry["tool_calls"] = [_call(call, ids, origin) for call in message.calls]
    for provider in (message.provider, *(call.provider for call in message.calls)):
        for item in items_from(provider, origin):
            if item.get("of") == "turn":
                entry |= item["members"]
            elif "reasoning" in item and message.calls and message.reasoning:
                # Wanted back with calls only, and then required.
                entry[item["reasoning"]] = message.reasoning
    return entry


def _call(call: AnsweredCall, ids: Mapping[str, str], origin: Json) -> Json:
    function = {"name": call.name, "arguments": call.arguments}
    entry: Json = {"id": ids[call.key], "type": "function", "function": function}
    for item in items_from(call.provider, origin):
        if item.get("of") == "call":
            entry |= item["members"]
    return entry


def _result(call: AnsweredCall, ids: Mapping[str, str]) -> Json:
    return {"role": "tool", "tool_call_id": ids[call.key], "content": call.result}


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
