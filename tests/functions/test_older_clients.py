"""Clients before AG-UI 1.0, which do not name a version: no stream has a frame that their schema refuses."""

import asyncio

from tests.doubles import ModelServer, calls, chunk
from tests.fixtures.conversations import types
from tests.fixtures.functions import Served, run_input


async def test_a_cancel_is_an_error_for_a_client_that_names_no_version(
    agent: Served, model: ModelServer
) -> None:
    person, never = await agent.person(), asyncio.Event()
    model.will([chunk({"content": "so far"}), never])
    older = run_input("hi")
    del older["protocolVersion"]
    async with (
        person.stream("POST", "/runs", older) as posted,
        person.stream("GET", "/runs/run-1/events") as followed,
        person.stream("GET", "/runs/run-1/events?protocolVersion=1.0") as newer,
    ):
        await posted.until("TEXT_MESSAGE_CONTENT")
        async with (
            person.stream("POST", "/connect", {"threadId": "thread-1"}) as attached,
            person.stream(
                "POST", "/connect", {"threadId": "thread-1", "protocolVersion": "1.0"}
            ) as newer_attached,
        ):
            await attached.until("STATE_SNAPSHOT")
            await person.request("POST", "/runs/run-1/cancel")
            for stream in (posted, followed, attached):
                last = (await stream.rest())[-1]
                assert (last["type"], last["code"]) == ("RUN_ERROR", "cancelled")
            for stream in (newer, newer_attached):
                assert (await stream.rest())[-1]["outcome"] == {"type": "cancelled"}


async def test_pending_calls_are_not_named_to_a_client_that_names_no_version(
    agent: Served, model: ModelServer
) -> None:
    person = await agent.person()
    tools = [{"name": "pick_colour", "description": "Ask", "parameters": {"type": "object"}}]
    model.will(calls(("call_0", "pick_colour", "{}")))
    older = run_input("which?", tools=tools)
    del older["protocolVersion"]

    frames = await person.run(older)

    assert types(frames)[-1] == "RUN_FINISHED"
    assert frames[-1]["outcome"] == {"type": "success"}
    shown = (await person.request("GET", "/runs/run-1")).json()
    assert len(shown["pendingToolCallIds"]) == 1
