"""Queues whose runs lost their holder, or never had one: another process continues, and no run is left waiting."""

import asyncio

from shared.core.json import Json
from tests.doubles import ModelServer, chunk, says
from tests.fixtures.conversations import (
    body,
    leave_orphan,
    leave_waiting,
    text,
    types,
    user,
    wait_for_status,
)
from tests.fixtures.database import TestDatabase
from tests.fixtures.functions import Person, Served, run_input, serve


async def elsewhere(agent: Served, person: Person) -> None:
    """Make all leases look to other processes as if their holder had died."""
    for live in agent.runs.writer.live_runs():
        live.drop()
    async with agent.database.owner() as owner:
        await owner.execute("update agent.lease set until = '-infinity' where attempt > 0")


async def test_a_thread_whose_holder_died_is_busy_and_its_run_continues(
    agent: Served, model: ModelServer
) -> None:
    person = await agent.person()
    await leave_orphan(agent, person, model)
    await elsewhere(agent, person)
    model.will(says("whole"))

    refused = await person.request("POST", "/runs", body("run-2", user("u2", "more")))

    assert (refused.status_code, refused.json()["code"]) == (409, "thread_busy")
    await wait_for_status(person, "completed")


async def test_a_background_run_on_a_busy_thread_is_answered_after_it(
    agent: Served, model: ModelServer
) -> None:
    person, proceed = await agent.person(), asyncio.Event()
    model.will([chunk({"content": "a"}), proceed, *says("b")], says("second"))
    async with person.stream("POST", "/runs", run_input("hi")) as frames:
        await frames.until("TEXT_MESSAGE_CONTENT")
        later = body("run-2", user("u2", "later"), busyPolicy="enqueue")
        later["forwardedProps"]["background"] = True
        assert (await person.request("POST", "/runs", later)).status_code == 202
        proceed.set()
        await frames.rest()

    await wait_for_status(person, "completed", "run-2")


async def test_cancelling_a_run_that_no_process_holds_starts_the_one_after_it(
    agent: Served, model: ModelServer
) -> None:
    person = await agent.person()
    await leave_orphan(agent, person, model)
    queued = asyncio.ensure_future(
        person.run(body("run-2", user("u2", "more"), busyPolicy="enqueue"))
    )
    await wait_for_status(person, "queued", "run-2")
    await elsewhere(agent, person)
    model.will(says("second"))

    await person.request("POST", "/runs/run-1/cancel")

    await wait_for_status(person, "completed", "run-2")
    queued.cancel()


async def test_the_next_request_starts_a_queue_whose_head_was_not_dispatched(
    agent: Served, model: ModelServer
) -> None:
    person = await agent.person()
    await leave_waiting(agent, person, body("run-1", user("u1", "first")))
    model.will(says("one"), says("two"))

    second = body("run-2", user("u2", "second"), busyPolicy="enqueue")
    assert text(await person.run(second)) == "two"
    await wait_for_status(person, "completed")


async def test_a_stream_has_nothing_after_the_ending(
    database: TestDatabase, model: ModelServer
) -> None:
    model.will([chunk({"content": "a"}), 0.5, *says("b")])
    async with serve(database, model, stream_leg_seconds=0.2) as agent:
        person = await agent.person()
        request = run_input("hi", forwardedProps={"resumable": True})
        async with person.stream("POST", "/runs", request) as frames:
            first = await frames.rest()
        cursor = first[-1]["value"]["cursor"]
        rest: list[Json] = []
        while not rest or rest[-1]["type"] == "CUSTOM":
            async with person.stream("GET", f"/runs/run-1/events?after={cursor}") as frames:
                rest = await frames.rest()
            cursor = rest[-1].get("value", {}).get("cursor", cursor)

    assert types(first)[-1] == "CUSTOM"
    assert "RUN_FINISHED" not in types(first)
    assert types(rest)[-1] == "RUN_FINISHED"
