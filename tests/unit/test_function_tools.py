"""Tools that are Python functions: their schemas, their arguments, where they run, and what stops a bad one."""

import asyncio
import threading
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from shared.agents.context import (
    Denied,
    InputRequired,
    RunContext,
    ToolContext,
    ToolError,
    ToolUser,
)
from shared.agents.function_tool import FunctionTool, tool
from shared.agents.function_toolbox import FunctionTools
from shared.agents.progress import ProgressReporter, Report
from shared.agents.tools import CallRequest, Question, Result
from shared.core.json import Json
from shared.core.settings import Settings
from shared.database.pool import Database

USER = "7a3c8a64-8a4e-4f0a-9d51-1f5b8a6a0b01"
RUN = RunContext(
    id="run", user=ToolUser({"sub": USER, "app_metadata": {"role": "clerk"}}), state={"cart": 3}
)


class Order(BaseModel):
    number: str
    euros: int = 5


async def call(
    made: FunctionTool, arguments: Json, answer: Json | None = None, run: RunContext = RUN
) -> Any:
    """The outcome of a call of this tool, as its run gets it."""
    settings = Settings(tool_seconds=0.2, tool_secrets={"CRM_KEY": "secret"})
    box = await FunctionTools([made], Database(settings), settings).open(run)
    return await box.call(CallRequest(made.name, arguments, "call-1", answer))


def test_the_schema_comes_from_the_parameters() -> None:
    @tool(read_only=True)
    async def find_order(
        number: Annotated[str, Field(description="As on the invoice.")],
        context: ToolContext,
        state: Literal["open", "paid"] = "open",
    ) -> Order:
        """Find an order."""
        del context, state
        return Order(number=number)

    assert (find_order.name, find_order.title) == ("find_order", "Find order")
    assert find_order.description == "Find an order."
    schema = find_order.input_schema
    assert schema["required"] == ["number"]
    assert schema["properties"]["number"]["description"] == "As on the invoice."
    assert schema["properties"]["state"]["enum"] == ["open", "paid"]
    assert schema["additionalProperties"] is False
    assert "context" not in schema["properties"]
    assert find_order.output_schema


async def test_a_tool_without_options_or_parameters() -> None:
    @tool
    def today() -> str:
        """Today."""
        return "Monday"

    assert today.input_schema["properties"] == {}
    assert await call(today, {}) == Result("Monday")


async def test_arguments_are_converted_and_the_context_is_handed_over() -> None:
    seen: list[Any] = []

    @tool(required_settings=("crm_key",))
    async def order(item: Order, count: int, context: ToolContext) -> dict[str, int]:
        """Order."""
        seen.append((item, count, context))
        return {"euros": item.euros * count}

    outcome = await call(order, {"item": {"number": "7"}, "count": "2"})

    assert outcome == Result('{"euros":10}')
    item, count, context = seen[0]
    assert (item, count) == (Order(number="7"), 2)
    assert (context.user.id, context.user.role, context.key) == (USER, "clerk", "call-1")
    assert (context.state, context.settings) == ({"cart": 3}, {"crm_key": "secret"})
    assert context.run is RUN


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        ({}, "number: Field required"),
        ({"number": 7}, "number: Input should be a valid string"),
        ({"number": "7", "canary": "secret"}, "canary: Extra inputs are not permitted"),
    ],
)
async def test_arguments_that_do_not_fit_are_refused_without_their_values(
    arguments: Json, shown: str
) -> None:
    @tool
    async def find(number: str) -> str:
        """Find."""
        return number

    outcome = await call(find, arguments)

    assert outcome.status == "error"
    assert shown in outcome.content
    assert "secret" not in outcome.content


async def test_a_plain_function_runs_in_a_thread_and_an_async_one_on_the_loop() -> None:
    @tool
    def plain() -> str:
        """Plain."""
        return threading.current_thread().name

    @tool
    async def coroutine() -> str:
        """Coroutine."""
        return threading.current_thread().name

    assert (await call(plain, {})).content == "call of plain"
    assert (await call(coroutine, {})).content == threading.main_thread().name


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ToolError("No such order."), Result("No such order.", "error")),
        (Denied("Not for you."), Result("Not for you.", "denied")),
        (RuntimeError("canary"), Result("The tool failed.", "error")),
    ],
)
async def test_a_failure_is_a_result(error: Exception, expected: Result) -> None:
    @tool
    async def fails() -> str:
        """Fails."""
        raise error

    assert await call(fails, {}) == expected


@pytest.mark.parametrize(("is_read_only", "status"), [(True, "error"), (False, "unknown")])
async def test_a_slow_call_ends_and_says_whether_it_may_have_had_its_effect(
    is_read_only: bool, status: str
) -> None:
    @tool(read_only=is_read_only)
    async def slow() -> str:
        """Slow."""
        await asyncio.sleep(30)
        return "never"

    assert (await call(slow, {})).status == status


async def test_a_tool_for_a_role_is_not_shown_to_others() -> None:
    @tool(required_role="admin")
    async def refund() -> str:
        """Refund."""
        return "done"

    settings = Settings()
    box = await FunctionTools([refund], Database(settings), settings).open(RUN)

    assert box.tools == {}


async def test_a_tool_asks_the_user_and_runs_again_with_the_answer() -> None:
    @tool
    async def book(context: ToolContext) -> str:
        """Book."""
        if "seat" not in context.answers:
            schema: Json = {"type": "object", "properties": {"row": {"type": "integer"}}}
            raise InputRequired({"seat": ("Which row?", schema)}, {"held": 2})
        assert context.question_state == {"held": 2}
        return f"row {context.answers['seat']['row']}"

    question = await call(book, {})

    assert isinstance(question, Question)
    assert (question.message, question.schema["type"]) == ("Which row?", "object")
    answer = {"payload": {"row": 4}, "state": question.state}
    assert await call(book, {}, answer) == Result("row 4")


def test_a_question_without_an_object_is_an_error() -> None:
    with pytest.raises(TypeError, match="The question 'seat' needs the JSON Schema of an object"):
        InputRequired({"seat": ("Which row?", {"type": "integer"})})


@pytest.mark.parametrize(
    ("options", "approval", "repeatable"),
    [
        ({}, "never", False),
        ({"read_only": True}, "never", True),
        ({"idempotent": True}, "never", True),
        ({"destructive": True}, "ask", False),
        ({"destructive": True, "approval": "never"}, "never", False),
        ({"approval": "edit"}, "edit", False),
    ],
)
async def test_declared_effects_become_the_rules_of_calls(
    options: Json, approval: str, repeatable: bool
) -> None:
    @tool(**options)
    async def act() -> str:
        """Act."""
        return ""

    settings = Settings()
    box = await FunctionTools([act], Database(settings), settings).open(RUN)

    assert (box.tools["act"].approval, box.tools["act"].is_repeatable) == (approval, repeatable)


def test_a_function_that_cannot_be_a_tool_is_refused_when_its_module_is_loaded() -> None:
    def untyped(number):  # type: ignore[no-untyped-def]
        return number

    def many(*numbers: int) -> int:
        return sum(numbers)

    with pytest.raises(TypeError, match="number needs a type"):
        tool(untyped)
    with pytest.raises(TypeError, match="cannot be an argument"):
        tool(many)
    with pytest.raises(TypeError, match="colour"):
        tool(colour="red")(
            test_a_function_that_cannot_be_a_tool_is_refused_when_its_module_is_loaded
        )


async def test_the_first_and_the_last_report_arrive_and_many_between_them_are_thinned_out() -> None:
    arrived: list[Report] = []
    report = ProgressReporter(arrived.append)

    for done in range(1000):
        report(done, 1000)
    report.close()
    report(5000)

    assert [each.done for each in arrived] == [0, 999]


async def test_reports_of_a_thread_arrive_before_the_result_of_its_call() -> None:
    arrived: list[Report] = []
    report = ProgressReporter(arrived.append)

    def report_all() -> None:
        for done in range(3):
            report(done)

    await asyncio.to_thread(report_all)
    report.close()
    await asyncio.to_thread(report, 7)
    await asyncio.sleep(0)

    assert [each.done for each in arrived] == [0, 2]
