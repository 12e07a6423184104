"""What a log line says of an error: its kind, and the line of a function's own code."""

from typing import Any

import pytest

from shared.core.places import error_facts

_CODE = """
import json

def read():
    return json.loads("canary")

def broken():
    exec(compile("this is no Python", "other.py", "exec"))
"""


def error_of(module: str, function: str) -> Exception:
    """What a function of a module with this name raises."""
    names: dict[str, Any] = {"__name__": module}
    exec(compile(_CODE, "app.py", "exec"), names)  # noqa: S102  # our own text
    with pytest.raises(Exception) as raised:  # noqa: PT011  # each has its own
        names[function]()
    return raised.value


def test_the_place_is_the_innermost_line_of_a_function() -> None:
    facts = error_facts(error_of("functions.support.app", "read"))

    assert facts == {"error": "JSONDecodeError", "at": "app.py:5"}


def test_the_place_is_the_innermost_line_if_no_function_has_a_part_in_it() -> None:
    facts = error_facts(error_of("elsewhere", "read"))

    assert facts["at"].partition(":")[0].endswith("json/decoder.py")


def test_the_place_of_a_syntax_error_is_that_of_the_text() -> None:
    facts = error_facts(error_of("functions.support.app", "broken"))

    assert facts == {"error": "SyntaxError", "at": "other.py:1"}


def test_an_error_that_was_not_raised_has_no_place() -> None:
    assert error_facts(ValueError("canary")) == {"error": "ValueError", "at": ""}
