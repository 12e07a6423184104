"""The loop, driven by hand: what is committed before what, and how a run ends."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from shared.agents.loop import Agent, Loop
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
from shared.runs.store import Leased
from tests.doubles import CountingTools, ScriptedModel

AGENT = Agent(instructions="be good", max_turns=3, attempts=2)
HISTORY = [Item("u1", "message", {"role": "user", "content": "hi"})]
STOP = TurnEnded("stop", Usage(5, 2))
CALLS = TurnEnded("tool_calls", Usage(5, 2))


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.agents.model_turn.random.uniform", lambda *_: 0.0)


def leased(items: list[Item], **more: Any) -> Leased:
    """A run as its claim gives it, with these items as its thread."""
    names = {
        "run_id": "run",
        "client_run_id": "run-1",
        "client_thread_id": "thread-1",
        "token": "t",
    }
    fields: Json = {
        **names,
        "attempt": 1,
        "base": 0,
        "last_seq": 1,
        "claims": {},
        "events": [],
        "since": 0.0,
    }
    return Leased(**{**fields, "request": {}, "items": items, "unfinished_calls": {}, **more})


def steps(model: ScriptedModel, toolbox: CountingTools, **request: Any) -> AsyncIterator[Step]:
    return Loop(AGENT, leased(HISTORY, request=request), model, toolbox).steps()


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

    async def meet(_: Json) -> str:
        async with asyncio.timeout(5):
            await both.wait()
        return "met"

    model = ScriptedModel([*call("a"), *call("b", place=1), CALLS], [TextDelta("ok"), STOP])

    found = await drafts(model, CountingTools({"a": meet, "b": meet}))

    results = [d for d in found if d.data.get("kind") == "tool_result" and "item" in d.data]
    assert [d.data["item"]["content"] for d in results] == ["met", "met"]
    assert [item.kind for item in model.asked[1].items][-2:] == ["tool_result", "tool_result"]


async def test_server_calls_run_before_frontend_calls_end_the_run() -> None:
    tools = CountingTools({"look": "seen"})
    model = ScriptedModel([*call("look"), *call("pick", place=1), CALLS])

    found = await drafts(model, tools, tools=[{"name": "pick"}])

    assert tools.calls == [("look", {})]
    assert len(found[-1].data["pending_calls"]) == 1


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        (call("nowhere"), "There is no tool named 'nowhere'."),
        (call("look", "{not json"), "The arguments are not valid JSON."),
        (call("look", "[1]"), "The arguments are not a JSON object."),
    ],
)
async def test_a_call_that_cannot_be_run_is_told_to_the_model(
    wanted: list[ModelEvent], told: str
) -> None:
    tools = CountingTools({"look": "seen"})
    model = ScriptedModel([*wanted, CALLS], [TextDelta("sorry"), STOP])

    await drafts(model, tools)

    assert model.asked[1].items[-1].data["content"] == told


async def test_a_tool_that_crashes_is_a_result_and_not_the_end() -> None:
    async def crash(_: Json) -> str:
        raise RuntimeError("secret detail")

    model = ScriptedModel([*call("look"), CALLS], [TextDelta("sorry"), STOP])

    found = await drafts(model, CountingTools({"look": crash}))

    assert found[-1].type == "run.completed"
    assert model.asked[1].items[-1].data["content"] == "The tool failed."


async def test_a_model_that_never_stops_calling_is_stopped() -> None:
    model = ScriptedModel(*([*call("look"), CALLS] for _ in range(3)))

    found = await drafts(model, CountingTools({"look": "seen"}))

    assert found[-1] == Draft(
        "run.incomplete",
        None,
        {"reason": "max_turns", "usage": {"input_tokens": 15, "output_tokens": 6}},
    )


async def test_what_a_broken_turn_said_is_taken_back_whole() -> None:
    broke = ModelFailed("model_broke_off", "broke", retryable=True)
    model = ScriptedModel(
        [ReasoningDelta("hm"), TextDelta("half"), broke], [TextDelta("whole"), STOP]
    )

    found = await drafts(model, CountingTools({}))

    begun = [d.item_id for d in found if d.type == "item.started"]
    taken_back = [d.item_id for d in found if d.type == "item.aborted"]
    assert taken_back == begun[:2]


async def test_attempts_are_counted_and_then_the_failure_flies() -> None:
    broke = ModelFailed("model_broke_off", "broke", retryable=True)
    model = ScriptedModel([broke], [broke])

    with pytest.raises(ModelFailed):
        await drafts(model, CountingTools({}))
    model.assert_done()


async def test_what_cannot_help_is_not_tried_again() -> None:
    model = ScriptedModel([ModelFailed("model_rejected", "no", retryable=False)])

    with pytest.raises(ModelFailed):
        await drafts(model, CountingTools({}))
    model.assert_done()


def left_over(name: str, executor: str = "server") -> list[Item]:
    """A thread whose last turn was closed by a holder that died before its calls had results."""
    made = {"name": name, "arguments": '{"n": 1}', "message_id": "m", "executor": executor}
    return [*HISTORY, Item("call-1", "tool_call", made)]


async def test_a_call_of_unknown_outcome_is_made_again_only_if_it_may_be() -> None:
    tools = CountingTools({"look": "seen", "pay": "paid"}, look={"is_repeatable": True})
    again = ScriptedModel([TextDelta("ok"), STOP])
    unknown = ScriptedModel([TextDelta("ok"), STOP])

    for name, model in (("look", again), ("pay", unknown)):
        taken = leased(left_over(name), unfinished_calls={"call-1": "result-1"})
        found = [d async for step in Loop(AGENT, taken, model, tools).steps() for d in step.drafts]
        assert found[0].item_id == "result-1", "the result that was started is the one completed"

    assert tools.calls == [("look", {"n": 1})]
    assert again.asked[0].items[-1].data["content"] == "seen"
    assert "outcome of this call is unknown" in unknown.asked[0].items[-1].data["content"]


async def test_a_run_taken_over_between_a_frontend_call_and_its_ending_just_ends() -> None:
    model = ScriptedModel()

    found = [
        draft
        async for step in Loop(
            AGENT, leased(left_over("pick", "client")), model, CountingTools({})
        ).steps()
        for draft in step.drafts
    ]

    assert [d.type for d in found] == ["run.completed"]
    assert found[0].data["pending_calls"] == ["call-1"]
