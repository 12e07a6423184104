"""What the echo answers to a request of OpenAI's Chat Completions: a text, or the call of a tool that it names."""

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from local.model.sample import Json, sample

_LONGEST_RESULT: Final = 2000
_WHO: Final = "I am an echo, not a language model: I repeat what you write. Set OPENAI_API_KEY in .env for a model."


@dataclass(frozen=True)
class Call:
    """A call of a tool."""

    tool: str
    arguments: Json


def reply(request: Json) -> str | Call:
    """The answer to the request's last message.

    A message that begins with the name of a tool, or has it between backticks, is a call of this tool:
    `find_order A-17`, `add_note title=Milk body="Two litres"`, `find_order {"number": "A-17"}`. Missing arguments are
    made up from the schema, and so is a structured answer. The bare name of a tool that needs arguments gets what they
    are, because a made-up formula is of no use.
    """
    messages = request["messages"]
    tools = {
        tool["function"]["name"]: tool["function"].get("parameters", {})
        for tool in request.get("tools", ())
    }
    results = _last_results(messages)
    text = "" if results else _text(messages[-1])
    schema = request.get("response_format", {}).get("json_schema", {}).get("schema")
    if not schema and (usage := _usage(text.strip(), tools)):
        return usage
    if call := _call(text, tools):
        return call
    if schema:
        return json.dumps(sample(schema), ensure_ascii=False)
    if results:
        return " ".join(f"The tool returned: {each[:_LONGEST_RESULT]}" for each in results)
    return " ".join(filter(None, [f"You wrote: {text}\n\n{_WHO}", _offer(tools)]))


def _last_results(messages: Sequence[Json]) -> list[str]:
    results: list[str] = []
    for message in reversed(messages):
        if message["role"] != "tool":
            break
        results.insert(0, _text(message))
    return results


def _text(message: Json) -> str:
    content = message.get("content") or ""
    parts = [{"text": content}] if isinstance(content, str) else content
    return " ".join(part["text"] for part in parts if "text" in part)


def _usage(name: str, tools: Mapping[str, Json]) -> str:
    """How to call the tool with this name; "" if it is no tool's name, or the tool needs no arguments."""
    schema = tools.get(name, {})
    if not (required := schema.get("required")):
        return ""
    parameters = schema.get("properties", {}).items()
    lines = (_parameter(key, about, is_optional=key not in required) for key, about in parameters)
    example = json.dumps(sample(schema), ensure_ascii=False)
    return "\n".join(
        [
            f"`{name}` needs arguments:\n",
            *lines,
            f"\nWrite `{name} {required[0].upper()}`, or all of them as JSON: `{name} {example}`.",
        ]
    )


def _parameter(name: str, schema: Json, *, is_optional: bool) -> str:
    about = schema.get("description") or schema.get("type")
    optional = " (optional)" if is_optional else ""
    return f"- `{name}`{optional}: {about}" if about else f"- `{name}`{optional}"


def _call(text: str, tools: Mapping[str, Json]) -> Call | None:
    first, _, rest = text.strip().partition(" ")
    if first in tools:
        return Call(first, _arguments(rest.strip(), tools[first]))
    for name in re.findall(r"`(\w+)`", text):
        if name in tools:
            return Call(name, sample(tools[name]))
    return None


def _arguments(text: str, schema: Json) -> Json:
    """The arguments as an object of JSON, as NAME=VALUE ..., or as the value of the first parameter."""
    parameters = schema.get("properties", {})
    if text.startswith("{"):
        try:
            return json.loads(text)  # type: ignore[no-any-return]  # an object
        except ValueError:
            pass
    pairs = [word.partition("=") for word in _words(text)]
    if pairs and all(name in parameters for name, _, _ in pairs):
        given = {name: _value(value, parameters[name]) for name, _, value in pairs}
    elif text and parameters:
        name = next(iter([*schema.get("required", ()), *parameters]))
        given = {name: _value(text, parameters[name])}
    else:
        given = {}
    return {**sample(schema), **given}


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return []


def _value(text: str, schema: Json) -> Any:
    if schema.get("type") == "string":
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def _offer(tools: Mapping[str, Json]) -> str:
    if not tools:
        return ""
    names = ", ".join(f"`{name}`" for name in tools)
    return f"To call a tool, begin with its name and add its arguments. The tools here: {names}."
