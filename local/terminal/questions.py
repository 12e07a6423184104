"""Asks the user about a run's interrupts in a terminal: approvals of calls, and questions of tools."""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import reduce
from typing import Any

from local.terminal.agent import Event
from local.terminal.screen import Screen
from shared.agents import fault as fault_in

Path = tuple[str, ...]


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
    for path, field in _fields(schema) if is_input else ():
        screen.note(f"{'.'.join(path)}: {_describe(field)}")
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
    paths = [path for path, _ in _fields(schema)]
    how = "the value" if len(paths) == 1 else f"JSON, such as {_example(paths)}"
    return f"({how}; empty: no answer)"


def _example(paths: list[Path]) -> str:
    example: dict[str, Any] = {}
    for *groups, key in paths:
        reduce(lambda inside, group: inside.setdefault(group, {}), groups, example)[key] = "…"
    return json.dumps(example, ensure_ascii=False)


def _fields(schema: Event, path: Path = ()) -> Iterator[tuple[Path, Event]]:
    """The values of an answer, and where they are in it. Several questions are an object each."""
    for name, field in schema.get("properties", {}).items():
        if field.get("properties"):
            yield from _fields(field, (*path, name))
        else:
            yield (*path, name), field


def _describe(field: Event) -> str:
    kind = " or ".join(map(str, field.get("enum") or [field.get("type", "any")]))
    about = field.get("description") or field.get("title")
    return f"{kind} ({about})" if about else kind


def _ask(screen: Screen, prompt: str) -> str:
    try:
        return screen.ask(prompt)
    except (EOFError, KeyboardInterrupt):
        raise LeftOpen from None


def _may_edit(schema: Event) -> bool:
    return "arguments" in schema.get("properties", {})


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
        if len(fields := [*_fields(schema)]) != 1:
            raise
    ((path, field),) = fields
    return reduce(lambda value, key: {key: value}, reversed(path), _read_value(text, field))


def _read_value(text: str, field: Mapping[str, Any]) -> Any:
    if field.get("type") == "string":
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def _read_object(text: str) -> Event:
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise ValueError("That is not a JSON object")
    return value
