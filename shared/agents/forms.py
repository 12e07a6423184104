"""A tool's questions as one form for the user, and the form's answer as answers by question."""

from collections.abc import Collection, Mapping
from typing import Any

import orjson

from shared.agents.tools import Question, Result
from shared.core import Json, clean_json

_NOT_SHOWN = "The tool requests something that this agent cannot provide."


def question_of(requests: Any, state: Json) -> Question | Result:
    """One form for all questions, MCP requests by key; only forms can be shown (MCP 2026-07-28, elicitation).

    What a server sends that is no form, or no object, is left out.

    Raises:
        TypeError: the state, or a schema, is nothing that JSON can hold.
    """
    requests, state = clean_json(_record(requests)), clean_json(state)
    orjson.dumps([requests, state])
    forms = {
        key: _record(request.get("params"))
        for key, request in requests.items()
        if _record(request).get("method") == "elicitation/create"
    }
    if not forms:
        return Result(_NOT_SHOWN, "error")
    messages = {key: str(form.get("message") or "") for key, form in forms.items()}
    message = "\n".join(messages.values())
    schemas = {key: _schema_of(form) for key, form in forms.items()}
    state = {**state, "keys": [*forms]}
    if len(schemas) == 1:
        return Question(message, next(iter(schemas.values())), state)
    # A form with several questions shows each one above its own fields.
    schemas = {key: {**schemas[key], "title": messages[key] or key} for key in schemas}
    combined_schema = {"type": "object", "properties": schemas, "required": [*schemas]}
    return Question(message, combined_schema, state)


def _schema_of(form: Json) -> Json:
    schema = _record(form.get("requestedSchema"))
    if schema.get("type", "object") != "object" or not isinstance(
        schema.get("properties", {}), dict
    ):
        return {"type": "object"}
    return {"type": "object", **schema}


def _record(value: Any) -> Json:
    """A mapping as it is; of anything else, nothing."""
    return dict(value) if isinstance(value, Mapping) else {}


def contents_of(payload: Any, keys: Collection[str]) -> dict[str, Json]:
    """The contents of the forms by key, from what the user sent for the one form that was shown."""
    by_key = {next(iter(keys)): payload} if len(keys) == 1 else payload
    given = by_key if isinstance(by_key, dict) else {}
    return {key: content if isinstance(content := given.get(key), dict) else {} for key in keys}
