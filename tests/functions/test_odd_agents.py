"""Agents whose code does what it should not: each fault is a result or one failed run, and never more than that."""

import asyncio
import json
import sys
import threading
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from pydantic import BaseModel, Field

from shared.agents.agent import Agent
from shared.agents.context import InputRequired, RunContext, ToolContext
from shared.agents.function_tool import tool
from shared.core.json import Json
from tests.doubles import ModelServer, calls, says
from tests.fixtures.conversations import text
from tests.fixtures.database import TestDatabase
from tests.fixtures.functions import run_input, serve
from tests.fixtures.interrupts import resumes, tool_results
from tests.fixtures.waiting import eventually


async def _await_a_cancelled_task() -> str:
    task = asyncio.ensure_future(asyncio.sleep(9))
    task.cancel()
    await task
    return ""


async def _exit() -> str:
    sys.exit(1)


def _exit_in_a_thread() -> str:
    sys.exit(1)


def _find_nothing() -> str:
    return next(word for word in ("a", "b") if word == "c")


def _report_a_decimal(context: ToolContext) -> str:
    context.progress(object())  # type: ignore[arg-type]
    return ""


def _keep_a_set(context: ToolContext) -> str:
    del context
    raise InputRequired({"seat": ("Which?", {"type": "object"})}, {"kept": {1, 2}})


@pytest.mark.parametrize(
    "function",
    [
        _await_a_cancelled_task,
        _exit,
        _exit_in_a_thread,
        _find_nothing,
        _report_a_decimal,
        _keep_a_set,
    ],
)
async def test_what_a_tool_raises_is_the_result_of_its_call(
    database: TestDatabase, model: ModelServer, function: Callable[..., Any]
) -> None:
    model.will(calls(("a", "odd", "{}")), says("done"))
    agent = Agent(instructions="", tools=[tool(name="odd", description="Acts.")(function)])
    async with serve(database, model, agent=agent) as served, asyncio.timeout(20):
        seen = await (await served.person()).run(run_input("go"))

    assert tool_results(model) == ["The tool failed."]
    assert text(seen) == "done"


async def test_progress_takes_any_number(database: TestDatabase, model: ModelServer) -> None:
    @tool
    def count(context: ToolContext) -> str:
        """Count."""
        context.progress(Decimal("0.5"), 2**70)  # type: ignore[arg-type]
        return "counted"

    model.will(calls(("a", "count", "{}")), says("done"))
    async with serve(database, model, agent=Agent(instructions="", tools=[count])) as served:
        await (await served.person()).run(run_input("go"))

    assert tool_results(model) == ["counted"]


class Thing(BaseModel):
    name: str = Field(alias="thingName")
    size: int = 0


@pytest.mark.parametrize(
    ("response", "result"),
    [
        ('{"thingName": "a\\u0000b"}', {"thingName": "a\ufffdb", "size": 0}),
        ('```json\n{"thingName": "x", "size": 2}\n```', {"thingName": "x", "size": 2}),
        ('\n {"thingName": "x"}\n', {"thingName": "x", "size": 0}),
    ],
)
async def test_a_response_is_a_result_that_postgres_can_store_and_that_fits_the_schema(
    database: TestDatabase, model: ModelServer, response: str, result: Json
) -> None:
    model.will(says(response))
    async with serve(database, model, agent=Agent(instructions="", output=Thing)) as served:
        seen = await (await served.person()).run(run_input("go"))

    assert seen[-1]["result"] == result


@pytest.mark.parametrize(
    "response",
    [json.dumps({"thingName": "x", "size": 10**30}), "```" + " " * 100_000 + "x"],
    ids=["a number of 31 digits", "a fence that never ends"],
)
async def test_a_response_that_cannot_be_a_result_is_sent_back_at_once(
    database: TestDatabase, model: ModelServer, response: str
) -> None:
    model.will(says(response), says('{"thingName": "x"}'))
    async with serve(database, model, agent=Agent(instructions="", output=Thing)) as served:
        async with asyncio.timeout(20):
            seen = await (await served.person()).run(run_input("go"))

    assert seen[-1]["result"] == {"thingName": "x", "size": 0}


def _none(run: RunContext) -> Any:
    del run


def _raises(run: RunContext) -> str:
    raise ValueError(f"canary of {run.id}")


def _times_out(run: RunContext) -> str:
    raise TimeoutError(f"canary of {run.id}")


@pytest.mark.parametrize("instructions", [_none, _raises, _times_out])
async def test_instructions_that_are_no_text_fail_the_run_without_content_in_the_log(
    database: TestDatabase,
    model: ModelServer,
    instructions: Callable[[RunContext], str],
    capfd: pytest.CaptureFixture[str],
) -> None:
    async with serve(database, model, agent=Agent(instructions=instructions)) as served:
        seen = await (await served.person()).run(run_input("go"))

    assert (seen[-1]["type"], seen[-1]["code"]) == ("RUN_ERROR", "internal_error")
    out, err = capfd.readouterr()
    assert "run.crashed" in out + err
    assert "canary" not in out + err


async def _wait_for_ever(run: RunContext) -> str:
    await asyncio.Event().wait()
    return run.id


@pytest.mark.parametrize("is_plain", [False, True])
async def test_instructions_that_take_too_long_fail_the_run(
    database: TestDatabase, model: ModelServer, is_plain: bool
) -> None:
    never = threading.Event()

    def block(run: RunContext) -> str:
        never.wait()
        return run.id

    agent = Agent(instructions=block if is_plain else _wait_for_ever)
    async with (
        serve(database, model, agent=agent, instructions_seconds=0.2) as served,
        asyncio.timeout(20),
    ):
        seen = await (await served.person()).run(run_input("go"))

    never.set()
    assert (seen[-1]["type"], seen[-1]["code"]) == ("RUN_ERROR", "instructions_timeout")


async def test_instructions_may_return_a_coroutine(
    database: TestDatabase, model: ModelServer
) -> None:
    async def later() -> str:
        return "be kind"

    model.will(says("ok"))
    async with serve(database, model, agent=Agent(instructions=lambda _: later())) as served:
        await (await served.person()).run(run_input("go"))

    assert model.requests[0]["messages"][0]["content"] == "be kind"


async def test_the_model_reads_the_result_of_a_call_that_was_approved_after_a_later_answer(
    database: TestDatabase, model: ModelServer
) -> None:
    @tool(destructive=True)
    async def pay() -> str:
        """Pay."""
        return "paid"

    gate = asyncio.Event()
    model.will([*says("let me")[:1], gate, *calls(("a", "pay", "{}"))], says("meanwhile"))
    async with serve(database, model, agent=Agent(instructions="", tools=[pay])) as served:
        person = await served.person()
        first = asyncio.ensure_future(person.run(run_input("pay")))
        await model.requested.wait()
        policy = {"busyPolicy": "enqueue"}
        second = asyncio.ensure_future(
            person.run(run_input("hello", run="run-2", forwardedProps=policy))
        )

        async def is_queued() -> bool:
            return (await person.request("GET", "/runs/run-2")).status_code == 200

        await eventually(is_queued)
        gate.set()
        (interrupt,) = (await first)[-1]["outcome"]["interrupts"]
        await second
        model.will(says("done"))
        await person.run(resumes(interrupt, {"approved": True}, run="run-3"))

    assert tool_results(model) == ["paid"]
