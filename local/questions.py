"""What a run asks of its user, asked in a terminal: a yes or a no to a call, or what a tool wants to know."""

import json
from typing import Any

from local.agent import Event
from local.screen import Screen


class LeftOpen(Exception):
    """The person gave no answer: neither a yes nor a no."""


def decide(question: Event, screen: Screen) -> Event:
    """The person's answer, as `resume` takes it; what cannot be read is asked again.

    Raises:
        LeftOpen: Ctrl-D or Ctrl-C.
    """
    schema = question.get("responseSchema") or {}
    wants = question["reason"] == "input_required"
    may_edit = wants or "arguments" in schema.get("properties", {})
    prompt = f"{question.get('message') or question['reason']} {_choice(wants, may_edit)} "
    for name, field in schema.get("properties", {}).items() if wants else ():
        kind = " or ".join(map(str, field.get("enum") or [field.get("type", "any")]))
        screen.note(f"{name}: {kind}{_described(field)}")
    told = {"interruptId": question["id"], "status": "resolved"}
    while True:
        said = _ask(screen, prompt)
        if wants and not said:
            return {**told, "status": "cancelled"}
        if not wants and said.lower() in ("y", "yes", "n", "no", ""):
            return {**told, "payload": {"approved": said.lower() in ("y", "yes")}}
        given = _object(said) if may_edit else None
        if given is not None:
            payload = given if wants else {"approved": True, "arguments": given}
            return {**told, "payload": payload}
        screen.tell(
            "That is not a JSON object." if may_edit else "y or n; Ctrl-D leaves the question open."
        )


def _choice(wants: bool, may_edit: bool) -> str:
    if wants:
        return "(JSON, empty: no)"
    return "[y/N/arguments as JSON]" if may_edit else "[y/N]"


def _described(field: Event) -> str:
    about = field.get("description") or field.get("title")
    return f" ({about})" if about else ""


def _ask(screen: Screen, prompt: str) -> str:
    try:
        return screen.ask(prompt)
    except (EOFError, KeyboardInterrupt):
        raise LeftOpen from None


def _object(said: str) -> dict[str, Any] | None:
    try:
        given = json.loads(said)
    except ValueError:
        return None
    return given if isinstance(given, dict) else None
