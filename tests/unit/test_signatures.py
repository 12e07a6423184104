"""What a tool's function may take: which parameter gets the context, and which functions are rejected."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Optional

import pytest
from pydantic import Field

from shared.agents.context import RunContext, ToolContext, ToolUser
from shared.agents.function_tool import tool


@dataclass(frozen=True, kw_only=True)
class Special(ToolContext):
    """A context that no call has."""


async def plain(number: int, context: ToolContext) -> str:
    return f"{number} {context.key}"


async def first(context: ToolContext, number: int) -> str:
    return f"{number} {context.key}"


async def keyword(*, number: int, context: ToolContext) -> str:
    return f"{number} {context.key}"


async def optional(number: int, context: ToolContext | None = None) -> str:
    assert context
    return f"{number} {context.key}"


async def old_optional(number: int, context: Optional[ToolContext] = None) -> str:  # noqa: UP045
    assert context
    return f"{number} {context.key}"


async def annotated(number: int, context: Annotated[ToolContext, Field(description="it")]) -> str:
    return f"{number} {context.key}"


async def optional_inside(number: int, context: Annotated[ToolContext | None, "it"] = None) -> str:
    assert context
    return f"{number} {context.key}"


async def optional_outside(number: int, context: Annotated[ToolContext, "it"] | None = None) -> str:
    assert context
    return f"{number} {context.key}"


async def text(number: "int", context: "ToolContext | None") -> "str":
    assert context
    return f"{number} {context.key}"


@pytest.mark.parametrize(
    "function",
    [
        plain,
        first,
        keyword,
        optional,
        old_optional,
        annotated,
        optional_inside,
        optional_outside,
        text,
    ],
)
async def test_the_context_is_handed_over_and_is_no_argument(function: Callable[..., Any]) -> None:
    made = tool(description="Acts.")(function)

    context = ToolContext(user=ToolUser({"sub": "alice"}), key="call-1")
    assert [*made.input_schema["properties"]] == ["number"]
    assert await made.run({"number": 7}, context) == "7 call-1"


async def test_the_type_of_the_result_is_no_parameter() -> None:
    async def make() -> ToolContext:
        return ToolContext(user=ToolUser({}), key="made")

    result = await tool(description="Acts.")(make).run(
        {}, ToolContext(user=ToolUser({"sub": "alice"}), key="call-1")
    )

    assert result.key == "made"


def subclass(context: Special) -> None: ...
def optional_subclass(context: Special | None = None) -> None: ...
def one_of_two(context: ToolContext | int) -> None: ...
def many_contexts(contexts: list[ToolContext]) -> None: ...
def run(run: RunContext) -> None: ...
def user(user: ToolUser | None) -> None: ...
def two(one: ToolContext, other: ToolContext | None = None) -> None: ...
def positional(number: int, /) -> None: ...
def positional_context(context: ToolContext, /) -> None: ...
def args(*contexts: ToolContext) -> None: ...
def kwargs(**contexts: ToolContext) -> None: ...
def untyped(context) -> None: ...  # type: ignore[no-untyped-def]
def hidden(_context: ToolContext) -> None: ...
def unknown(context: "Contxt") -> None: ...  # type: ignore[name-defined]  # noqa: F821


@pytest.mark.parametrize(
    ("function", "shown"),
    [
        (subclass, "context cannot have a type with Special"),
        (optional_subclass, "context cannot have a type with Special"),
        (one_of_two, "context cannot have a type with ToolContext"),
        (many_contexts, "contexts cannot have a type with ToolContext"),
        (run, "run cannot have a type with RunContext"),
        (user, "user cannot have a type with ToolUser"),
        (two, "one and other are both the context"),
        (positional, "number: int cannot be an argument"),
        (positional_context, "context: .*ToolContext cannot be an argument"),
        (args, r"\*contexts: .*ToolContext cannot be an argument"),
        (kwargs, r"\*\*contexts: .*ToolContext cannot be an argument"),
        (untyped, "context needs a type"),
        (hidden, "a parameter cannot be named _context"),
        (unknown, "an annotation has the name 'Contxt', which the module does not have yet"),
    ],
)
def test_what_cannot_be_called_is_rejected_in_one_sentence_where_it_is_declared(
    function: Callable[..., Any], shown: str
) -> None:
    with pytest.raises(TypeError, match=f"^Tool {function.__name__}: {shown}") as error:
        tool(function)

    assert str(error.value).count("\n") == 0
    assert str(error.value).endswith(".")


def test_a_tool_without_a_docstring_is_refused_and_a_description_is_one() -> None:
    def act() -> str:
        return ""

    with pytest.raises(TypeError, match="Tool act needs a docstring"):
        tool(act)
    assert tool(description="Acts.")(act).description == "Acts."
