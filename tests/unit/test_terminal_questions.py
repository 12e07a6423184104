"""What a terminal makes of what a person types at a question."""

import io
import sys
from typing import Any

import pytest

from local.questions import LeftOpen, decide
from local.screen import Screen

MAY_EDIT: dict[str, Any] = {"responseSchema": {"properties": {"approved": {}, "arguments": {}}}}
WANTS: dict[str, Any] = {
    "reason": "input_required",
    "responseSchema": {"properties": {"city": {"type": "string", "description": "Which one"}}},
}


def decided(
    monkeypatch: pytest.MonkeyPatch, typed: str, **question: Any
) -> tuple[str, dict[str, Any] | None]:
    monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
    asked = {"id": "q", "reason": "tool_call", "message": "May it?", **question}
    answer = decide(asked, Screen(is_terminal=True))
    assert answer["interruptId"] == "q"
    return answer["status"], answer.get("payload")


@pytest.mark.parametrize(
    ("typed", "approved"), [("y\n", True), ("YES\n", True), ("n\n", False), ("\n", False)]
)
def test_a_yes_is_a_yes_and_nothing_is_a_no(
    monkeypatch: pytest.MonkeyPatch, typed: str, approved: bool
) -> None:
    assert decided(monkeypatch, typed) == ("resolved", {"approved": approved})


@pytest.mark.parametrize("typo", ["{", "[1]", "yse", '{"a": }'])
def test_a_typo_is_neither_and_is_asked_again(monkeypatch: pytest.MonkeyPatch, typo: str) -> None:
    changed = decided(monkeypatch, f'{typo}\n{{"a": 2}}\n', **MAY_EDIT)
    assert changed == ("resolved", {"approved": True, "arguments": {"a": 2}})
    assert decided(monkeypatch, f"{typo}\ny\n") == ("resolved", {"approved": True})


def test_arguments_that_may_not_be_changed_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert decided(monkeypatch, '{"a": 2}\nn\n') == ("resolved", {"approved": False})


def test_what_a_tool_wants_is_named_and_given_as_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = decided(monkeypatch, 'Berlin\n{"city": "Berlin"}\n', **WANTS)
    assert given == ("resolved", {"city": "Berlin"})
    assert "city: string (Which one)" in capsys.readouterr().err
    assert decided(monkeypatch, "\n", **WANTS) == ("cancelled", None)


def test_the_end_of_what_is_typed_leaves_it_open(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LeftOpen):
        decided(monkeypatch, "{\n", **MAY_EDIT)
