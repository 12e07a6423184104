"""A calculator: exact where possible, without running code."""

import math
from decimal import Context as Precision
from decimal import Decimal
from fractions import Fraction
from typing import Annotated

from pydantic import BaseModel, Field

from functions.tools.arithmetic import BITS, DIGITS, LENGTH, Value, evaluate
from shared.agents import ToolError, tool


class Number(BaseModel):
    value: str = Field(description="The result in decimal notation.")
    exact: bool = Field(description="True if the result is exact, false if it is rounded.")


@tool(read_only=True)
async def calculator(
    expression: Annotated[
        str, Field(max_length=LENGTH, description="Such as 2 * (3 + 4) ^ 2, sqrt(2), 10!.")
    ],
) -> Number:
    """Compute an arithmetic expression: + - * / // % ^ ! and parentheses, pi, e, tau, and abs, ceil, floor, round,
    min, max, sqrt, exp, ln, log, log2, log10, sin, cos, tan, asin, acos, atan (in radians)."""
    return to_number(evaluate(expression))


def to_number(value: Value) -> Number:
    """The value in decimal notation: exact if it is whole or has at most 28 digits, else rounded to 28."""
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ToolError("The result is too large, or not a real number.")
        return Number(value=repr(value), exact=False)
    if value.denominator == 1 and abs(value.numerator).bit_length() <= BITS:
        return Number(value=str(value.numerator), exact=True)
    precision = Precision(prec=DIGITS)
    quotient = precision.divide(Decimal(value.numerator), Decimal(value.denominator))
    return Number(value=f"{quotient.normalize():f}", exact=Fraction(quotient) == value)
