"""Operations in flight when a process stops: no mark remains, and no release and no cancel is dropped."""

import asyncio
import signal
from collections.abc import Callable
from typing import Any

import pytest

from shared.core.errors import Unavailable
from tests.doubles import ModelServer, Reply, chunk, says
from tests.fixtures.database import TestDatabase
from tests.fixtures.functions import Served, run_input, serve
from tests.fixtures.processes import started
from tests.fixtures.runners import runner_stub
from tests.fixtures.waiting import eventually, until_true

_BACKGROUND = {"background": True}


def slow(agent: Served, door: str, function: str, seconds: float) -> asyncio.Event:
    """Delay the answers of one database function. The event is set when the function was called."""
    called, database = asyncio.Event(), agent.process.database
    real: Callable[..., Any] = getattr(database, door)

    async def late(name: str, *arguments: Any) -> Any:
        answer = await real(name, *arguments)
        if name == function:
            called.set()
            await asyncio.sleep(seconds)
        return answer

    setattr(database, door, late)
    return called


async def stop(agent: Served) -> None:
    """Do what the server does from SIGTERM to the end of the process."""
    await agent.process.finish()
    await agent.runs.close(agent.process.grace)


async def test_the_next_run_of_a_thread_is_sent_although_its_mark_is_in_flight(
    database: TestDatabase, model: ModelServer
) -> None:
    proceed = asyncio.Event()
    model.will([chunk({"content": "a"}), proceed, *says("b")])
    async with (
        runner_stub() as (address, sent),
        serve(database, model, runner_url=address, stop_grace_seconds=5.0) as agent,
    ):
        person = await agent.person()
        async with person.stream("POST", "/runs", run_input("hi")) as frames:
            await frames.until("TEXT_MESSAGE_CONTENT")
            props = {**_BACKGROUND, "busyPolicy": "enqueue"}
            await person.request("POST", "/runs", run_input("2", run="run-2", forwardedProps=props))
            sent.clear()
            slow(agent, "call", "mark_dispatched", 0.2)
            stopping = asyncio.ensure_future(stop(agent))
            proceed.set()
            await frames.rest()
            await stopping
    assert len(sent) == 1, "marked, and never sent"


async def test_a_reader_in_a_stopping_process_still_has_a_crashed_run_sent(
    database: TestDatabase, model: ModelServer
) -> None:
    never = asyncio.Event()
    model.will([chunk({"content": "half "}), never])
    async with (
        runner_stub() as (address, sent),
        started("assistant", database, model) as holder,
        started("assistant", database, model, stop_grace_seconds=60.0, runner_url=address) as other,
    ):
        person = await holder.new_person()
        # It has dispatched a run before, and keeps that connection open.
        request = run_input("bg", run="bg", thread="bg", forwardedProps=_BACKGROUND)
        await other.person(person).request("POST", "/runs", request)
        await eventually(lambda: asyncio.sleep(0, bool(sent)))
        async with person.stream("POST", "/runs", run_input("hi")) as frames:
            await frames.until("TEXT_MESSAGE_CONTENT")
        async with other.person(person).stream("GET", "/runs/run-1/events") as frames:
            await frames.until("TEXT_MESSAGE_CONTENT")
            async with database.owner() as owner:
                run_id = str(
                    await owner.fetchval("select id from agent.run where client_run_id = 'run-1'")
                )
            other.process.send_signal(signal.SIGTERM)
            await holder.signal(signal.SIGKILL)
            await eventually(lambda: asyncio.sleep(0, run_id in sent))
    never.set()


async def test_a_release_that_fails_once_is_repeated(
    database: TestDatabase, model: ModelServer
) -> None:
    never = asyncio.Event()
    model.will([chunk({"content": "a"}), never])
    async with serve(database, model, stop_grace_seconds=2.0, stop_handover_seconds=2.0) as agent:
        person = await agent.person()
        async with person.stream("POST", "/runs", run_input("hi")) as frames:
            await frames.until("TEXT_MESSAGE_CONTENT")
            database_: Any = agent.process.database
            real, failed = database_.call, list[str]()

            async def once(name: str, *arguments: Any) -> Any:
                if name == "release_runs" and not failed:
                    failed.append(name)
                    raise Unavailable
                return await real(name, *arguments)

            database_.call = once
            await stop(agent)
    never.set()
    async with database.owner() as owner:
        lease = await owner.fetchrow(
            "select token, unfinished_attempts, stalled_attempts from agent.lease"
        )
    assert lease
    assert (lease["token"], lease["unfinished_attempts"], lease["stalled_attempts"]) == (
        None,
        0,
        1,
    ), "no crash"


async def test_a_delivery_during_the_release_of_its_run_does_not_succeed(
    database: TestDatabase, model: ModelServer
) -> None:
    never = asyncio.Event()
    model.answer_all = lambda _: Reply([chunk({"content": "a"}), never])
    async with (
        runner_stub() as (address, sent),
        serve(database, model, run_deadline_seconds=2, runner_url=address) as agent,
    ):
        person = await agent.person()
        released = slow(agent, "call", "release_runs", 0.1)
        async with person.stream("POST", "/runs", run_input("hi")) as frames:
            await frames.until("TEXT_MESSAGE_CONTENT")
        async with asyncio.timeout(5):
            await released.wait()
        async with database.owner() as owner:
            run_id = str(await owner.fetchval("select id from agent.run"))
            # A sweep of another process marks it, and its delivery comes here.
            assert len(await owner.fetch("select agent.sweep_runs(100)")) == 1
            delivery = asyncio.ensure_future(agent.runs.worker.execute_delivered(run_id))
            await until_true(
                database, "(select token is not null or dispatched_at is null from agent.lease)"
            )
        delivery.cancel()
        assert sent == []
    never.set()


async def test_a_sweep_in_flight_leaves_no_mark(database: TestDatabase, model: ModelServer) -> None:
    async with (
        runner_stub() as (address, sent),
        serve(database, model, runner_url=address, stop_grace_seconds=0.5) as agent,
    ):
        person = await agent.person()
        request = run_input("bg", forwardedProps=_BACKGROUND)
        await person.request("POST", "/runs", request)
        await eventually(lambda: asyncio.sleep(0, bool(sent)))
        async with database.owner() as owner:
            await owner.execute("update agent.lease set dispatched_at = null")
        called = slow(agent, "rows", "sweep_runs", 0.2)
        sweep = asyncio.ensure_future(agent.runs.worker.sweep())
        await called.wait()
        await agent.process.finish()
        await sweep
        await agent.runs.close(agent.process.grace)
    async with database.owner() as owner:
        is_marked = await owner.fetchval("select dispatched_at is not null from agent.lease")
    assert len(sent) == 2 or not is_marked, "marked, and never sent"


async def test_a_client_that_left_before_the_stop_still_cancels_its_run(
    database: TestDatabase, model: ModelServer
) -> None:
    never = asyncio.Event()
    model.will([chunk({"content": "half "}), never])
    request = run_input("hi", forwardedProps={"onDisconnect": "cancel"})
    async with (
        started("assistant", database, model) as holder,
        serve(database, model, stop_grace_seconds=5.0) as other,
    ):
        person = await other.person()
        here = holder.person(person)
        async with here.stream("POST", "/runs", request) as first:
            await first.until("TEXT_MESSAGE_CONTENT")
            cancelling = slow(other, "call", "cancel_run", 0.1)
            async with person.stream("POST", "/runs", request) as second:
                await second.until("MESSAGES_SNAPSHOT")
            await cancelling.wait()
            await stop(other)
            ended = "(select status = 'cancelled' from agent.run)"
            await until_true(database, ended)
    never.set()


@pytest.mark.parametrize("has_runner", [False, True])
async def test_a_stop_without_postgres_ends_with_its_grace(
    database: TestDatabase, model: ModelServer, has_runner: bool
) -> None:
    never = asyncio.Event()
    model.will([chunk({"content": "a"}), never])
    async with runner_stub() as (address, _):
        url = address if has_runner else ""
        async with serve(database, model, stop_grace_seconds=1.0, runner_url=url) as agent:
            person = await agent.person()
            async with person.stream("POST", "/runs", run_input("hi")) as frames:
                await frames.until("TEXT_MESSAGE_CONTENT")
                database_: Any = agent.process.database
                database_.call = database_.rows = lambda *_: asyncio.Event().wait()
                async with asyncio.timeout(5):
                    await stop(agent)
    never.set()
