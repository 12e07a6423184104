"""Answers to interrupts that a user types at the terminal."""

import io
import json
import sys
from typing import Any

import pytest

from local.terminal.fields import example_of, fields_of
from local.terminal.questions import LeftOpen, decide
from local.terminal.screen import Screen
from shared.core.json import Json

MAY_EDIT: dict[str, Any] = {"responseSchema": {"properties": {"approved": {}, "arguments": {}}}}
INPUT_REQUIRED: dict[str, Any] = {
    "reason": "input_required",
    "responseSchema": {"properties": {"city": {"type": "string", "description": "Which one"}}},
}


def decided(
    monkeypatch: pytest.MonkeyPatch, typed: str, **question: Any
) -> tuple[str, dict[str, Any] | None]:
    monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
    interrupt = {"id": "q", "reason": "tool_call", "message": "May it?", **question}
    answer = decide(interrupt, Screen(is_terminal=True))
    assert answer["interruptId"] == "q"
    return answer["status"], answer.get("payload")


@pytest.mark.parametrize(
    ("typed", "approved"), [("y\n", True), ("YES\n", True), ("n\n", False), ("\n", False)]
)
def test_only_an_explicit_yes_approves(
    monkeypatch: pytest.MonkeyPatch, typed: str, approved: bool
) -> None:
    assert decided(monkeypatch, typed) == ("resolved", {"approved": approved})


@pytest.mark.parametrize("typo", ["{", "[1]", "yse", '{"a": }'])
def test_a_typo_is_no_answer_and_the_question_is_repeated(
    monkeypatch: pytest.MonkeyPatch, typo: str
) -> None:
    changed = decided(monkeypatch, f'{typo}\n{{"a": 2}}\n', **MAY_EDIT)
    assert changed == ("resolved", {"approved": True, "arguments": {"a": 2}})
    assert decided(monkeypatch, f"{typo}\ny\n") == ("resolved", {"approved": True})


def test_arguments_cannot_be_changed_where_the_policy_forbids_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert decided(monkeypatch, '{"a": 2}\nn\n') == ("resolved", {"approved": False})


def test_a_question_of_one_value_is_answered_with_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for typed in ("Berlin\n", '{"city": "Berlin"}\n'):
        given = decided(monkeypatch, typed, **INPUT_REQUIRED)
        assert given == ("resolved", {"city": "Berlin"})
    shown = capsys.readouterr()
    assert "city: string (Which one; optional)" in shown.err
    assert "(the value; empty: no answer)" in shown.out + shown.err
    assert decided(monkeypatch, "\n", **INPUT_REQUIRED) == ("cancelled", None)


def test_one_value_in_a_group_has_the_type_of_its_field(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {"type": "object", "properties": {"row": {"type": "integer"}}}
    schema = {"type": "object", "properties": {"seat": row}}
    question = {"reason": "input_required", "responseSchema": schema}
    given = decided(monkeypatch, "twelve\n12\n", **question)
    assert given == ("resolved", {"seat": {"row": 12}})
    assert 'seat.row: "twelve" is not of type "integer"' in capsys.readouterr().err


def test_each_field_says_what_it_takes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    titled = [{"const": "a", "title": "Aisle"}, {"const": "w", "title": "Window"}]
    properties = {
        "row": {"type": "integer"},
        "side": {"oneOf": titled},
        "meals": {"type": "array", "items": {"enum": ["lunch", "dinner"]}, "default": ["lunch"]},
    }
    schema = {"type": "object", "properties": properties, "required": ["row", "side"]}
    decided(monkeypatch, "\n", reason="input_required", responseSchema=schema)
    shown = "".join(capsys.readouterr())
    assert "row: integer\x1b" in shown
    assert "side: a or w\x1b" in shown
    assert 'meals: list of lunch or dinner (default ["lunch"])' in shown
    assert 'such as {"row": 1, "side": "a"}' in shown


def test_an_expired_interrupt_is_dismissed(monkeypatch: pytest.MonkeyPatch) -> None:
    past, later = "2026-01-01T00:00:00Z", "2999-01-01T00:00:00+00:00"
    assert decided(monkeypatch, "y\n", expiresAt=past) == ("cancelled", None)
    assert decided(monkeypatch, "y\n", expiresAt=later) == ("resolved", {"approved": True})
    with pytest.raises(LeftOpen):
        decided(monkeypatch, "", expiresAt=past)


def test_the_fields_of_several_questions_are_named_by_their_paths(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    of = {"type": "object", "properties": {"count": {"type": "integer"}}}
    schema = {"type": "object", "properties": {"nights": of, "sure": {"type": "boolean"}}}
    question = {"reason": "input_required", "responseSchema": schema}
    given = decided(monkeypatch, '{"nights": {"count": 2}}\n', **question)
    assert given == ("resolved", {"nights": {"count": 2}})
    captured = capsys.readouterr()
    assert 'such as {"nights": {"count": 1}, "sure": true}' in captured.out + captured.err
    shown = captured.err
    assert "nights.count: integer" in shown
    assert "sure: boolean" in shown


def test_an_answer_that_does_not_fit_gets_the_reason_and_the_question_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    euros = {"type": "object", "properties": {"euros": {"type": "integer"}}}
    schema = {"responseSchema": {"properties": {"approved": {}, "arguments": euros}}}
    given = decided(monkeypatch, '{"euros": "five"}\n{"euros": 5}\n', **schema)
    assert given == ("resolved", {"approved": True, "arguments": {"euros": 5}})
    given = decided(monkeypatch, '{"city": 7}\n{"city": "Bonn"}\n', **INPUT_REQUIRED)
    assert given == ("resolved", {"city": "Bonn"})
    shown = capsys.readouterr().err
    assert 'That does not fit: arguments.euros: "five" is not of type "integer".' in shown
    assert 'That does not fit: city: 7 is not of type "string".' in shown


def test_the_end_of_input_leaves_the_interrupt_open(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LeftOpen):
        decided(monkeypatch, "{\n", **MAY_EDIT)


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"yes": True, "nothing": None, "list": [1]}},
        {"properties": 5, "required": 5, "$defs": 5},
        {"properties": {"a": {"type": ["integer", "null"]}, "b": {"enum": 5, "oneOf": "x"}}},
        {"properties": {"a": {"$ref": 5}, "b": {"anyOf": [True, 7]}, "c": {"properties": 5}}},
        {"properties": {"a": {"$ref": "#/$defs/A"}}, "$defs": {"A": {"$ref": "#/$defs/A"}}},
        {
            "properties": {"a": {"$ref": "#/$defs/A"}},
            "$defs": {"A": {"properties": {"a": {"$ref": "#/$defs/A"}, "b": {}}}},
        },
    ],
)
def test_no_schema_breaks_a_question(schema: Json) -> None:
    fields = fields_of(schema)
    assert all(len(field.path) <= 3 for field in fields)
    assert [str(field) for field in fields] or not isinstance(schema["properties"], dict)
    assert json.loads(example_of(fields)) is not None


def test_optional_values_and_references_have_their_types() -> None:
    schema = {
        "properties": {
            "row": {"anyOf": [{"type": "integer"}, {"type": "null"}], "default": None},
            "seat": {"$ref": "#/$defs/Seat", "description": "Which one"},
        },
        "required": ["seat"],
        "$defs": {"Seat": {"enum": ["aisle", "window"]}},
    }
    row, seat = fields_of(schema)
    assert str(row) == "row: integer (optional)"
    assert str(seat) == "seat: aisle or window (Which one)"


@pytest.mark.parametrize(
    ("field", "typed", "value"),
    [
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "12", "12"),
        ({"enum": ["1", "2"]}, "1", "1"),
        ({"type": ["integer", "null"]}, "12", 12),
        ({"type": "boolean"}, "true", True),
    ],
)
def test_a_value_is_what_the_schema_accepts(
    monkeypatch: pytest.MonkeyPatch, field: Json, typed: str, value: object
) -> None:
    schema = {"type": "object", "properties": {"it": field}}
    given = decided(monkeypatch, f"{typed}\n", reason="input_required", responseSchema=schema)
    assert given == ("resolved", {"it": value})


def test_a_servers_words_cannot_move_the_cursor(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    schema = {"type": "object", "properties": {"a\x1b[2J": {}, "b": {}}}
    question = {"reason": "input_required", "responseSchema": schema, "message": "\x1b[2Jhi"}
    decided(monkeypatch, "\n", **question)
    assert "\x1b[2J" not in "".join(capsys.readouterr())
