"""The calculator: exact results where possible, and an error of one sentence elsewhere."""

from contextlib import suppress
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.tools.arithmetic import evaluate
from functions.tools.calculator import to_number
from shared.agents.context import ToolError


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("1 + 2 * 3", "7"),
        ("(1 + 2) * 3", "9"),
        ("2 ^ 3 ^ 2", "512"),
        ("-2 ^ 2", "-4"),
        ("2 ** -2", "0.25"),
        ("0.1 + 0.2", "0.3"),
        ("1e3 / 8", "125"),
        ("7 // 2 + 7 % 3", "4"),
        ("-7 // 2", "-4"),
        ("5!", "120"),
        ("sqrt(1.44)", "1.2"),
        ("round(2.345, 2)", "2.35"),
        ("round(-2.5)", "-3"),
        ("max(1, 2, 3) - min(4, 5)", "-1"),
        ("abs(-3) + ceil(1.2) + floor(1.8)", "6"),
        ("3 \u00d7 4 \u2212 2", "10"),
    ],
)
def test_a_decimal_result_is_exact(expression: str, value: str) -> None:
    assert to_number(evaluate(expression)).model_dump() == {"value": value, "exact": True}


def test_a_result_without_a_finite_decimal_is_rounded_and_marked_inexact() -> None:
    assert to_number(evaluate("1 / 3")).model_dump() == {"value": "0." + "3" * 28, "exact": False}
    assert to_number(evaluate("sqrt(2)")).value.startswith("1.414213562373095")
    assert not to_number(evaluate("pi")).exact


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("9**9**9", "too large"),
        ("2^99999", "too large"),
        ("10^300 * 10^300 * 10^300 * 10^300 * 10^300", "too large"),
        ("1000!", "0 to 300"),
        ("1e99999", "too large"),
        ("exp(1e9)", "too large"),
        ("1 / 0", "Division by zero"),
        ("1 % 0", "Division by zero"),
        ("sqrt(-1)", "not a real number"),
        ("(-8) ^ (1/3)", "not a real number"),
        ("ln(0)", "not a real number"),
        ("", "ends too early"),
        ("1 +", "ends too early"),
        ("(1", "not closed"),
        ("1 2", "Unexpected '2'"),
        ("__import__('os')", "Unexpected"),
        ("open(1)", "Unexpected 'open'"),
        ("sqrt(1, 2)", "another number of values"),
        ("(" * 60 + "1" + ")" * 60, "deeper than"),
        ("2^" * 60 + "1", "deeper than"),
        ("-" * 400 + "1" + "+1" * 100, "longer than"),
    ],
)
def test_an_expression_that_cannot_be_computed_is_a_tool_error(
    expression: str, message: str
) -> None:
    with pytest.raises(ToolError, match=message):
        to_number(evaluate(expression))


@given(st.text(alphabet="0123456789.e+-*/%^!(), sqrtmaxpi", max_size=60))
def test_any_text_gives_a_value_or_a_tool_error(expression: str) -> None:
    with suppress(ToolError):
        assert to_number(evaluate(expression)).value


@given(st.integers(-999, 999), st.integers(-999, 999), st.integers(1, 999))
def test_it_agrees_with_fractions(a: int, b: int, c: int) -> None:
    assert evaluate(f"({a}) * ({b}) / {c} - ({b})") == Fraction(a) * b / c - b
