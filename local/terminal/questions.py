"""Asks the user about a run's interrupts in a terminal: approvals of calls, and questions of tools."""

import json
from collections.abc import Iterator
from typing import Any

from local.terminal.agent import Event
from local.terminal.screen import Screen
from shared.agents import fault as fault_in


class LeftOpen(Exception):
    """The user gave no answer."""


def decide(question: Event, screen: Screen) -> Event:
    """The user's answer, as an entry of `resume`. After invalid input, it asks again.

    Raises:
        LeftOpen: the user pressed Ctrl-D or Ctrl-C.
    """
    schema = question.get("responseSchema") or {}
    is_input = question["reason"] == "input_required"
    may_edit = is_input or "arguments" in schema.get("properties", {})
    prompt = f"{message_of(question)} {_choice(is_input, may_edit)} "
    for line in _fields(schema) if is_input else ():
        screen.note(line)
    answer = {"interruptId": question["id"], "status": "resolved"}
    while True:
        text = _ask(screen, prompt)
        if is_input and not text:
            return {**answer, "status": "cancelled"}
        if not is_input and text.lower() in ("y", "yes", "n", "no", ""):
            return {**answer, "payload": {"approved": text.lower() in ("y", "yes")}}
        value = _read_object(text) if may_edit else None
        payload = value if is_input else {"approved": True, "arguments": value}
        if value is None:
            wrong = "That is not a JSON object" if may_edit else "y or n; Ctrl-D leaves it open"
        elif fault := fault_in(schema, payload):
            wrong = f"That does not fit: {fault}"
        else:
            return {**answer, "payload": payload}
        screen.report(f"{wrong}.")


def message_of(question: Event) -> str:
    """The question in words."""
    return str(question.get("message") or question["reason"])


def _choice(is_input: bool, may_edit: bool) -> str:
    if is_input:
        return "(JSON, empty: no)"
    return "[y/N/arguments as JSON]" if may_edit else "[y/N]"


def _fields(schema: Event, path: str = "") -> Iterator[str]:
    """A line for each value of the answer. Several questions are an object each."""
    for name, field in schema.get("properties", {}).items():
        if field.get("properties"):
            yield from _fields(field, f"{path}{name}.")
        else:
            kind = " or ".join(map(str, field.get("enum") or [field.get("type", "any")]))
            yield f"{path}{name}: {kind}{_describe(field)}"


def _describe(field: Event) -> str:
    about = field.get("description") or field.get("title")
    return f" ({about})" if about else ""


def _ask(screen: Screen, prompt: str) -> str:
    try:
        return screen.ask(prompt)
    except (EOFError, KeyboardInterrupt):
        raise LeftOpen from None


def _read_object(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
