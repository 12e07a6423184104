"""Arithmetic that never runs code: a small parser over exact fractions, with limits on depth, length and size."""

import math
import re
from collections.abc import Callable
from fractions import Fraction
from typing import Final

from shared.agents import ToolError

LENGTH: Final = 500
_DEPTH: Final = 40
#: Exact values of more bits are refused before they are computed.
BITS: Final = 4096
DIGITS: Final = 28

_TOKEN = re.compile(
    r"\s*(?:(\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)|([a-z]\w*)|(\*\*|//|[-+*/%^(),!]))"
)
#: Signs that people type or paste.
_SIGNS: Final = str.maketrans({"\u00d7": "*", "\u00f7": "/", "\u2212": "-"})
#: A fraction if the value is exact, else the nearest double.
Value = Fraction | float

_CONSTANTS: Final[dict[str, float]] = {"pi": math.pi, "e": math.e, "tau": math.tau}


def _real(run: Callable[..., float]) -> Callable[..., Value]:
    return lambda *values: run(*map(float, values))


def _sqrt(value: Value) -> Value:
    if isinstance(value, Fraction) and value.numerator >= 0:
        root = Fraction(math.isqrt(value.numerator), math.isqrt(value.denominator))
        if root * root == value:
            return root
    return math.sqrt(value)


def _round(value: Value, digits: Value = Fraction(0)) -> Value:
    """Round half away from zero, as people do."""
    if digits != int(digits) or abs(int(digits)) > DIGITS:
        raise ToolError("round takes a whole number of digits.")
    shift = Fraction(10) ** int(digits)
    rounded = math.floor(abs(Fraction(value)) * shift + Fraction(1, 2)) / shift
    return rounded if value >= 0 else -rounded


_FUNCTIONS: Final[dict[str, tuple[Callable[..., Value], range]]] = {
    "abs": (abs, range(1, 2)),
    "ceil": (lambda value: Fraction(math.ceil(value)), range(1, 2)),
    "floor": (lambda value: Fraction(math.floor(value)), range(1, 2)),
    "round": (_round, range(1, 3)),
    "min": (min, range(1, 100)),
    "max": (max, range(1, 100)),
    "sqrt": (_sqrt, range(1, 2)),
    **{
        name: (_real(getattr(math, name)), range(1, 2))
        for name in ("exp", "ln", "log2", "log10", "sin", "cos", "tan", "asin", "acos", "atan")
        if hasattr(math, name)
    },
    "ln": (_real(math.log), range(1, 2)),
    "log": (_real(math.log), range(1, 3)),
}


def evaluate(expression: str) -> Value:
    """The value of an expression.

    Raises:
        ToolError: the expression cannot be parsed or computed, or it is too large; the message says why.
    """
    if len(expression) > LENGTH:
        raise ToolError(f"The expression is longer than {LENGTH} characters.")
    try:
        return _Parser(expression).parse()
    except ZeroDivisionError:
        raise ToolError("Division by zero.") from None
    except (OverflowError, ValueError):
        raise ToolError("The result is too large, or not a real number.") from None


class _Parser:
    """Recursive descent, lowest precedence first: sum, product, sign, power, factorial, atom."""

    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._at = 0
        self._depth = 0

    def parse(self) -> Value:
        value = self._sum()
        if self._at < len(self._tokens):
            raise ToolError(f"Unexpected {self._tokens[self._at]!r}.")
        return value

    def _take(self, *symbols: str) -> str | None:
        if self._at < len(self._tokens) and self._tokens[self._at] in symbols:
            self._at += 1
            return self._tokens[self._at - 1]
        return None

    def _sum(self) -> Value:
        self._depth += 1
        if self._depth > _DEPTH:
            raise ToolError(f"The expression nests deeper than {_DEPTH}.")
        value = self._product()
        while sign := self._take("+", "-"):
            other = self._product()
            value = _check_size(_add(value, other if sign == "+" else -other))
        self._depth -= 1
        return value

    def _product(self) -> Value:
        value = self._sign()
        while sign := self._take("*", "/", "//", "%"):
            value = _check_size(_PRODUCTS[sign](value, self._sign()))
        return value

    def _sign(self) -> Value:
        signs = 1
        while sign := self._take("+", "-"):
            signs *= -1 if sign == "-" else 1
        value = self._power()
        return value if signs > 0 else -value

    def _power(self) -> Value:
        base = self._factorial()
        if not self._take("^", "**"):
            return base
        self._depth += 1
        if self._depth > _DEPTH:
            raise ToolError(f"The expression nests deeper than {_DEPTH}.")
        value = _power(base, self._sign())
        self._depth -= 1
        return value

    def _factorial(self) -> Value:
        value = self._atom()
        while self._take("!"):
            if value != int(value) or not 0 <= value <= 300:
                raise ToolError("A factorial takes a whole number from 0 to 300.")
            value = _check_size(Fraction(math.factorial(int(value))))
        return value

    def _atom(self) -> Value:
        if self._at >= len(self._tokens):
            raise ToolError("The expression ends too early.")
        symbol = self._tokens[self._at]
        self._at += 1
        if symbol == "(":
            value = self._sum()
            self._close()
            return value
        if symbol[0].isdigit() or symbol[0] == ".":
            return _number(symbol)
        if symbol in _CONSTANTS:
            return _CONSTANTS[symbol]
        if symbol in _FUNCTIONS and self._take("("):
            return self._call_function(symbol)
        raise ToolError(f"Unexpected {symbol!r}.")

    def _call_function(self, name: str) -> Value:
        values = [self._sum()]
        while self._take(","):
            values.append(self._sum())
        self._close()
        run, counts = _FUNCTIONS[name]
        if len(values) not in counts:
            raise ToolError(f"{name} takes another number of values.")
        return _check_size(run(*values))

    def _close(self) -> None:
        if not self._take(")"):
            raise ToolError("A parenthesis is not closed.")


def _tokens(text: str) -> list[str]:
    tokens: list[str] = []
    at = 0
    text = text.strip().lower().translate(_SIGNS)
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise ToolError(f"Unexpected {text[at : at + 10].strip()!r}.")
        tokens.append(match[0].strip())
        at = match.end()
    return tokens


def _number(symbol: str) -> Fraction:
    exponent = symbol.partition("e")[2]
    if exponent and abs(int(exponent)) > 300:
        raise ToolError("A number is too large or too small.")
    return Fraction(symbol)


def _add(left: Value, right: Value) -> Value:
    return left + right


def _power(base: Value, exponent: Value) -> Value:
    is_whole = isinstance(exponent, Fraction) and exponent.denominator == 1
    if isinstance(base, Fraction) and is_whole:
        bits = max(base.numerator.bit_length(), base.denominator.bit_length())
        if bits * abs(int(exponent)) > BITS:
            raise ToolError("The result is too large.")
        return Fraction(base ** int(exponent))
    value = float(base) ** float(exponent)
    if isinstance(value, complex):
        raise ToolError("The result is not a real number.")
    return _check_size(value)


_PRODUCTS: Final[dict[str, Callable[[Value, Value], Value]]] = {
    "*": lambda left, right: left * right,
    "/": lambda left, right: left / right,
    "//": lambda left, right: Fraction(math.floor(left / right)),
    "%": lambda left, right: left % right,
}


def _check_size(value: Value) -> Value:
    if isinstance(value, int):
        value = Fraction(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ToolError("The result is too large, or not a real number.")
        return value
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > BITS:
        raise ToolError("The result is too large.")
    return value
