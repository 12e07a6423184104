"""Runs outlive processes that are killed, paused or terminated: another process continues, and clients see all once."""

import asyncio
import signal
from collections.abc import AsyncIterator

import pytest

from tests.doubles import ModelServer, chunk, says
from tests.fixtures.conversations import all_legs, final_text, text, types, wait_for_status
from tests.fixtures.database import TestDatabase
from tests.fixtures.functions import Person, Served, run_input, serve
from tests.fixtures.processes import Process, started
from tests.fixtures.waiting import until_expired, until_text_committed, until_true


@pytest.fixture
async def first(database: TestDatabase, model: ModelServer) -> AsyncIterator[Process]:
    async with started("assistant", database, model) as process:
        yield process


@pytest.fixture
async def runner(database: TestDatabase, model: ModelServer) -> AsyncIterator[Process]:
    async with started("runner", database, model) as process:
        yield process


@pytest.fixture
async def person(first: Process) -> Person:
    return await first.new_person()


async def run_id_of(database: TestDatabase, run: str = "run-1") -> str:
    async with database.owner() as owner:
        return str(await owner.fetchval("select id from agent.run where client_run_id = $1", run))


async def test_a_run_of_a_killed_process_is_finished_once_its_client_reconnects(
    database: TestDatabase, model: ModelServer, first: Process, person: Person
) -> None:
    never = asyncio.Event()
    model.will([chunk({"content": "half "}), never], says("who", "le"))
    async with person.stream("POST", "/runs", run_input("hi")) as frames:
        await frames.until("TEXT_MESSAGE_CONTENT")
        cursor = frames.ids[-1]
        await first.signal(signal.SIGKILL)
    await until_expired(database)

    async with started("assistant", database, model, keep_alive_seconds=0.2) as second:
        back = second.person(person)
        seen = await all_legs(back, cursor)

    assert types(seen)[-1] == "RUN_FINISHED"
    assert final_text(seen) == "whole"
    never.set()


async def test_a_paused_process_that_lost_its_lease_sends_nothing_more(
    database: TestDatabase, model: ModelServer, first: Process, person: Person
) -> None:
    proceed = asyncio.Event()
    model.will([chunk({"content": "old"}), proceed, *says(" zombie")], says("new"))
    async with person.stream("POST", "/runs", run_input("hi")) as frames:
        await frames.until("TEXT_MESSAGE_CONTENT")
        await until_text_committed(database)
        await first.signal(signal.SIGSTOP)
        await until_expired(database)
        async with started("assistant", database, model, keep_alive_seconds=0.2) as second:
            back = second.person(person)
            async with back.stream("POST", "/connect", {"threadId": "thread-1"}) as attached:
                assert final_text(await attached.rest()) == "new"
            proceed.set()
            await first.signal(signal.SIGCONT)
            rest = await frames.rest()
    assert "zombie" not in text(rest)
    assert final_text(rest) == "new"


async def test_a_late_holder_whose_lease_no_process_took_continues(
    database: TestDatabase, model: ModelServer, first: Process, person: Person
) -> None:
    proceed = asyncio.Event()
    model.will([chunk({"content": "before"}), proceed, *says(" after")])
    async with person.stream("POST", "/runs", run_input("hi")) as frames:
        await frames.until("TEXT_MESSAGE_CONTENT")
        await first.signal(signal.SIGSTOP)
        await until_expired(database)
        await first.signal(signal.SIGCONT)
        proceed.set()
        assert text(await frames.rest()) == " after"
    assert (await person.request("GET", "/runs/run-1")).json()["cursor"].startswith("1.")


async def test_with_only_postgres_left_one_sweep_finishes_everything(
    database: TestDatabase, model: ModelServer, first: Process, person: Person
) -> None:
    never = asyncio.Event()
    model.will([chunk({"content": "a"}), never], [chunk({"content": "b"}), never])
    for run, thread in (("run-1", "one"), ("run-2", "two")):
        async with person.stream(
            "POST", "/runs", run_input("hi", run=run, thread=thread)
        ) as frames:
            await frames.until("TEXT_MESSAGE_CONTENT")
    await first.signal(signal.SIGKILL)
    await until_expired(database)
    model.will(says("done"), says("done"))

    async with started("runner", database, model) as runner:
        swept = await runner.client.post(runner.base + "/sweep")
        assert swept.json() == {"dispatched": 2}
        await until_true(
            database, "(select count(*) from agent.run where status = 'completed') = 2"
        )
        assert (await runner.client.post(runner.base + "/sweep")).json() == {"dispatched": 0}
    never.set()


async def test_one_sweep_before_the_lease_runs_out_is_enough(
    database: TestDatabase, model: ModelServer, first: Process, person: Person
) -> None:
    never = asyncio.Event()
    model.will([chunk({"content": "half "}), never])
    async with started("runner", database, model, lease_seconds=30.0) as runner:
        async with person.stream("POST", "/runs", run_input("hi")) as frames:
            await frames.until("TEXT_MESSAGE_CONTENT")
        await first.signal(signal.SIGKILL)
        model.will(says("whole"))
        async with database.owner() as owner:
            await owner.execute("update agent.lease set until = now() + interval '2 seconds'")

        swept = await runner.client.post(runner.base + "/sweep")

        assert swept.json() == {"dispatched": 0}, "its lease still stands"
        # No client returns, and nothing sweeps again.
        await until_true(database, "(select status from agent.run) = 'completed'")
    never.set()


async def test_a_background_run_is_executed_by_the_runner_and_a_second_delivery_changes_nothing(
    agent: Served, database: TestDatabase, model: ModelServer, runner: Process
) -> None:
    model.will(says("done"))
    async with serve(database, model, runner_url=runner.base + "/") as agent:
        person = await agent.person()
        body = run_input("hi", forwardedProps={"background": True})
        started_ = await person.request("POST", "/runs", body)

        assert (started_.status_code, started_.json()["status"]) == (202, "queued")
        await wait_for_status(person, "completed")
    again = await runner.post_event(await run_id_of(database))
    assert (again.status_code, again.content) == (204, b""), "refused: the claim is the dedupe"


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({}, b"{}", 400),
        ({"content-type": "application/cloudevents-batch+json"}, b"[]", 415),
        ({"content-type": "application/cloudevents+json"}, b"{", 400),
        ({"content-type": "application/cloudevents+json"}, b'{"specversion": "1.0"}', 400),
        (
            {
                "content-type": "application/json",
                "ce-id": "1",
                "ce-source": "/x",
                "ce-type": "agent.run.waiting",
                "ce-specversion": "1.0",
            },
            b'{"run_id": "drop table"}',
            400,
        ),
    ],
)
async def test_an_unusable_event_is_refused_so_that_no_broker_retries_it(
    runner: Process, headers: dict[str, str], body: bytes, status: int
) -> None:
    answer = await runner.client.post(runner.base + "/", content=body, headers=headers)

    assert answer.status_code == status


async def test_a_run_over_its_deadline_continues_with_a_new_lease_and_does_not_fail(
    agent: Served, database: TestDatabase, model: ModelServer
) -> None:
    never = asyncio.Event()
    model.will([chunk({"content": "half"}), never], says("whole"))
    async with serve(database, model, run_deadline_seconds=0.5) as slow:
        someone = await slow.person()
        async with someone.stream("POST", "/runs", run_input("hi")) as frames:
            seen = await frames.rest()
        view = (await someone.request("GET", "/runs/run-1")).json()

    assert final_text(seen) == "whole"
    assert types(seen)[-1] == "RUN_FINISHED"
    assert view["status"] == "completed"
    assert view["cursor"].startswith("2.")
    never.set()
