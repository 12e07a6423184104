"""Asks the user about a run's interrupts in a terminal: approvals of calls, and questions of tools."""

import json
from datetime import UTC, datetime
from functools import reduce
from typing import Any

from local.terminal.agent import Event
from local.terminal.fields import Field, example_of, fields_of
from local.terminal.screen import Screen
from shared.agents import fault as fault_in


class LeftOpen(Exception):
    """The user gave no answer."""


def decide(question: Event, screen: Screen) -> Event:
    """The user's answer, as an entry of `resume`. After invalid input, it asks again.

    Raises:
        LeftOpen: the user pressed Ctrl-D or Ctrl-C.
    """
    answer = {"interruptId": question["id"], "status": "resolved"}
    dismissal = {**answer, "status": "cancelled"}
    if _is_expired(question):
        _ask(screen, f"{message_of(question)} (expired; Enter dismisses it) ")
        return dismissal
    schema = question.get("responseSchema") or {}
    is_input = question["reason"] == "input_required"
    read = _read_answer if is_input else _read_decision
    prompt = f"{message_of(question)} {_choice(schema, is_input=is_input)} "
    for field in fields_of(schema) if is_input else ():
        screen.note(str(field))
    while True:
        text = _ask(screen, prompt)
        if is_input and not text:
            return dismissal
        try:
            payload = read(text, schema)
        except ValueError as wrong:
            screen.report(f"{wrong}.")
            continue
        if not (fault := fault_in(schema, payload)):
            return {**answer, "payload": payload}
        screen.report(f"That does not fit: {fault}.")


def message_of(question: Event) -> str:
    """The question in words."""
    return str(question.get("message") or question["reason"])


def _is_expired(question: Event) -> bool:
    expires_at = question.get("expiresAt")
    return expires_at is not None and datetime.fromisoformat(expires_at) <= datetime.now(UTC)


def _choice(schema: Event, *, is_input: bool) -> str:
    if not is_input:
        return "[y/N/arguments as JSON]" if _may_edit(schema) else "[y/N]"
    fields = fields_of(schema)
    how = "the value" if len(fields) == 1 else f"JSON, such as {example_of(fields)}"
    return f"({how}; empty: no answer)"


def _ask(screen: Screen, prompt: str) -> str:
    try:
        return screen.ask(prompt)
    except (EOFError, KeyboardInterrupt):
        raise LeftOpen from None


def _may_edit(schema: Event) -> bool:
    return "arguments" in (schema.get("properties") or {})


def _read_decision(text: str, schema: Event) -> Event:
    """The answer to an approval.

    Raises:
        ValueError: it is neither yes nor no, nor the call's new arguments; the message says so.
    """
    if text.lower() in ("y", "yes", "n", "no", ""):
        return {"approved": text.lower() in ("y", "yes")}
    if not _may_edit(schema):
        raise ValueError("y or n; Ctrl-D leaves it open")
    return {"approved": True, "arguments": _read_object(text)}


def _read_answer(text: str, schema: Event) -> Event:
    """The answer to a tool's question: an object, or the value itself if there is only one.

    Raises:
        ValueError: there are several, and this is no object; the message says so.
    """
    try:
        return _read_object(text)
    except ValueError:
        if len(fields := fields_of(schema)) != 1:
            raise
    (field,) = fields
    payloads = [_placed(value, field) for value in _values(text)]
    return next((each for each in payloads if not fault_in(schema, each)), payloads[0])


def _placed(value: Any, field: Field) -> Event:
    placed: Event = reduce(lambda inner, key: {key: inner}, reversed(field.path), value)
    return placed


def _values(text: str) -> list[Any]:
    """What the user may mean: the text, or what it is as JSON."""
    try:
        return [text, json.loads(text)]
    except ValueError:
        return [text]


def _read_object(text: str) -> Event:
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise ValueError("That is not a JSON object")
    return value
