"""The loop, step by step: the order of its commits, and how a run ends."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from shared.agents.loop import Loop
from shared.core.events import Draft, Step
from shared.core.items import Item, Usage
from shared.core.json import Json
from shared.models.events import (
    ModelEvent,
    ModelFailed,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    TurnEnded,
)
from shared.runs.results import Leased
from tests.doubles import CountingTools, ScriptedModel
from tests.fixtures.agents import bound, leased

HISTORY = [Item("u1", "message", {"role": "user", "content": "hi"})]
STOP = TurnEnded("stop", Usage(5, 2))
CALLS = TurnEnded("tool_calls", Usage(5, 2))


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.agents.model_turn.random.uniform", lambda *_: 0.0)


def loop(taken: Leased, model: ScriptedModel, toolbox: CountingTools) -> Loop:
    return Loop(bound(model, max_turns=3, max_turn_tries=2), "be good", taken, toolbox)


def steps(model: ScriptedModel, toolbox: CountingTools, **request: Any) -> AsyncIterator[Step]:
    return loop(leased(HISTORY, request=request), model, toolbox).steps()


async def drafts(model: ScriptedModel, toolbox: CountingTools, **request: Any) -> list[Draft]:
    found = [draft async for step in steps(model, toolbox, **request) for draft in step.drafts]
    model.assert_done()
    return found


def types(found: list[Draft]) -> list[str]:
    return [d.type for d in found if d.type != "item.delta"]


def call(name: str, arguments: str = "{}", place: int = 0) -> list[ModelEvent]:
    return [ToolCallDelta(place, f"call_{place}", name, arguments)]


async def test_the_end_of_a_text_and_the_ending_are_one_commit() -> None:
    model = ScriptedModel([TextDelta("hi"), STOP])

    last = [step async for step in steps(model, CountingTools({})) if step.drafts][-1]

    assert last.commits
    assert last.closes
    assert types(list(last.drafts)) == ["item.completed", "turn.finished", "run.completed"]
    assert last.drafts[-1].data == {
        "usage": {"input_tokens": 5, "output_tokens": 2},
        "pending_calls": [],
    }


async def test_no_tool_starts_before_its_turn_is_closed() -> None:
    tools = CountingTools({"look": "seen"})
    model = ScriptedModel([*call("look"), CALLS], [TextDelta("ok"), STOP])

    async for step in steps(model, tools):
        if step.closes:
            assert tools.calls == []
            closed = types(list(step.drafts))
            break

    assert closed == ["item.completed", "turn.finished", "item.started"], (
        "the call is in the log as started"
    )


async def test_tools_of_a_turn_run_side_by_side() -> None:
    both = asyncio.Barrier(2)

    async def together(_: Json) -> str:
        async with asyncio.timeout(5):
            await both.wait()
        return "done"

    model = ScriptedModel([*call("a"), *call("b", place=1), CALLS], [TextDelta("ok"), STOP])

    found = await drafts(model, CountingTools({"a": together, "b": together}))

    results = [d for d in found if d.data.get("kind") == "tool_result" and "item" in d.data]
    assert [d.data["item"]["content"] for d in results] == ["done", "done"]
    assert [item.kind for item in model.requests[1].items][-2:] == ["tool_result", "tool_result"]


async def test_server_calls_run_before_frontend_calls_end_the_run() -> None:
    tools = CountingTools({"look": "seen"})
    model = ScriptedModel([*call("look"), *call("pick", place=1), CALLS])

    found = await drafts(model, tools, tools=[{"name": "pick"}])

    assert tools.calls == [("look", {})]
    assert len(found[-1].data["pending_calls"]) == 1


@pytest.mark.parametrize(
    ("requested", "result"),
    [
        (call("nowhere"), "There is no tool named 'nowhere'."),
        (
            call("look", "{not json"),
            "The arguments are not valid JSON (",
        ),
        (call("look", "[1]"), "The arguments are not a JSON object: [1]"),
    ],
)
async def test_the_model_gets_the_reason_why_a_call_cannot_be_made(
    requested: list[ModelEvent], result: str
) -> None:
    tools = CountingTools({"look": "seen"})
    model = ScriptedModel([*requested, CALLS], [TextDelta("sorry"), STOP])

    await drafts(model, tools)

    assert model.requests[1].items[-1].data["content"].startswith(result)


async def test_a_crash_of_a_tool_is_a_result_and_does_not_end_the_run() -> None:
    async def crash(_: Json) -> str:
        raise RuntimeError("secret detail")

    model = ScriptedModel([*call("look"), CALLS], [TextDelta("sorry"), STOP])

    found = await drafts(model, CountingTools({"look": crash}))

    assert found[-1].type == "run.completed"
    assert model.requests[1].items[-1].data["content"] == "The tool failed."


async def test_a_run_ends_as_incomplete_at_its_limit_of_turns() -> None:
    model = ScriptedModel(*([*call("look"), CALLS] for _ in range(3)))

    found = await drafts(model, CountingTools({"look": "seen"}))

    assert found[-1] == Draft(
        "run.incomplete",
        None,
        {"reason": "max_turns", "usage": {"input_tokens": 15, "output_tokens": 6}},
    )


async def test_all_items_of_a_turn_that_broke_off_are_aborted() -> None:
    broke = ModelFailed("model_broke_off", "broke", retryable=True)
    model = ScriptedModel(
        [ReasoningDelta("hm"), TextDelta("half"), broke], [TextDelta("whole"), STOP]
    )

    found = await drafts(model, CountingTools({}))

    started = [d.item_id for d in found if d.type == "item.started"]
    aborted = [d.item_id for d in found if d.type == "item.aborted"]
    assert aborted == started[:2]


async def test_a_model_failure_is_raised_after_the_last_attempt_at_a_turn() -> None:
    broke = ModelFailed("model_broke_off", "broke", retryable=True)
    model = ScriptedModel([broke], [broke])

    with pytest.raises(ModelFailed):
        await drafts(model, CountingTools({}))
    model.assert_done()


async def test_a_failure_that_is_not_retryable_is_not_tried_again() -> None:
    model = ScriptedModel([ModelFailed("model_rejected", "no", retryable=False)])

    with pytest.raises(ModelFailed):
        await drafts(model, CountingTools({}))
    model.assert_done()


def left_over(name: str, executor: str = "server") -> list[Item]:
    """A thread whose last turn was closed by a holder that died before its calls had results."""
    made = {"name": name, "arguments": '{"n": 1}', "message_id": "m", "executor": executor}
    return [*HISTORY, Item("call-1", "tool_call", made)]


async def test_a_call_of_unknown_outcome_is_made_again_only_if_its_tool_is_repeatable() -> None:
    tools = CountingTools({"look": "seen", "pay": "paid"}, look={"is_repeatable": True})
    again = ScriptedModel([TextDelta("ok"), STOP])
    unknown = ScriptedModel([TextDelta("ok"), STOP])

    for name, model in (("look", again), ("pay", unknown)):
        taken = leased(left_over(name), unfinished_calls={"call-1": "result-1"})
        found = [d async for step in loop(taken, model, tools).steps() for d in step.drafts]
        assert found[0].item_id == "result-1", "the result that was started is the one completed"

    assert tools.calls == [("look", {"n": 1})]
    assert again.requests[0].items[-1].data["content"] == "seen"
    assert "outcome of this call is unknown" in unknown.requests[0].items[-1].data["content"]


async def test_a_takeover_after_a_closed_turn_with_a_frontend_call_ends_the_run() -> None:
    model = ScriptedModel()

    found = [
        draft
        async for step in loop(
            leased(left_over("pick", "client")), model, CountingTools({})
        ).steps()
        for draft in step.drafts
    ]

    assert [d.type for d in found] == ["run.completed"]
    assert found[0].data["pending_calls"] == ["call-1"]
