"""Deliveries of waiting runs: unlimited in number, open as long as the attempt they started, and not needed by it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest

from shared.runs.background import BackgroundTasks
from shared.runs.dispatcher import Dispatcher
from shared.runs.waiting import WaitingRuns
from tests.doubles import ModelServer, Reply, chunk, says
from tests.fixtures.conversations import leave_waiting
from tests.fixtures.database import TestDatabase
from tests.fixtures.functions import Served, run_input, serve, settings_for
from tests.fixtures.processes import started
from tests.fixtures.runners import runner_stub, silent_runner
from tests.fixtures.waiting import eventually, until_true
from tests.postgres.holders import connected


@asynccontextmanager
async def dispatching(
    database: TestDatabase, model: ModelServer, **settings: object
) -> AsyncIterator[Dispatcher]:
    """The dispatcher of a process with these settings."""
    used, background = settings_for(database, model, **settings), BackgroundTasks()
    async with connected(database.url) as db:
        dispatcher = Dispatcher(WaitingRuns(db, used), background, used)
        yield dispatcher
        await background.cancel()
        await dispatcher.close()


async def test_open_deliveries_do_not_make_other_deliveries_wait(
    database: TestDatabase, model: ModelServer
) -> None:
    many = 150
    async with (
        silent_runner() as (address, deliveries),
        dispatching(database, model, runner_url=address) as dispatcher,
    ):
        for _ in range(many):
            dispatcher.dispatch(str(uuid4()), is_marked=True)

        await eventually(lambda: asyncio.sleep(0, len(deliveries) == many))
        assert len(dispatcher.runs_being_dispatched) == many


async def test_a_delivery_to_a_broker_stays_open_for_a_run_s_time_and_a_margin(
    database: TestDatabase, model: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.runs.dispatcher._MARGIN_SECONDS", 0.2)
    async with (
        silent_runner() as (address, deliveries),
        dispatching(database, model, k_sink=address, run_deadline_seconds=0.1) as short,
        dispatching(database, model, k_sink=address, run_deadline_seconds=60) as long,
    ):
        for dispatcher in (short, long):
            dispatcher.dispatch(str(uuid4()), is_marked=True)
        await eventually(lambda: asyncio.sleep(0, len(deliveries) == 2))

        await eventually(lambda: asyncio.sleep(0, not short.runs_being_dispatched))
        assert long.runs_being_dispatched


async def test_a_run_has_one_delivery_at_a_time(database: TestDatabase, model: ModelServer) -> None:
    async with (
        runner_stub() as (address, sent),
        dispatching(database, model, runner_url=address) as dispatcher,
    ):
        run_id = str(uuid4())
        for _ in range(3):
            dispatcher.dispatch(run_id, is_marked=True)
        await eventually(lambda: asyncio.sleep(0, not dispatcher.runs_being_dispatched))
    assert sent == [run_id]


async def test_a_run_that_becomes_free_while_its_mark_is_refused_is_still_sent(
    database: TestDatabase, model: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing, proceed = asyncio.Event(), asyncio.Event()

    async def mark(_: WaitingRuns, run_id: str) -> bool:
        if refusing.is_set():
            return True
        refusing.set()
        await proceed.wait()
        return False

    monkeypatch.setattr(WaitingRuns, "mark", mark)
    async with (
        runner_stub() as (address, sent),
        dispatching(database, model, runner_url=address) as dispatcher,
    ):
        dispatcher.dispatch("run")
        await refusing.wait()
        # The run before it ends, and its holder dispatches the thread's next one.
        dispatcher.dispatch("run")
        proceed.set()
        await eventually(lambda: asyncio.sleep(0, not dispatcher.runs_being_dispatched))
    assert sent == ["run"]


async def test_a_run_that_is_released_during_its_own_delivery_is_sent_again_after_it(
    database: TestDatabase, model: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process may execute what it dispatched: the attempt ends, and dispatches the run, before its delivery ends."""

    async def mark(_: WaitingRuns, run_id: str) -> bool:
        return True

    monkeypatch.setattr(WaitingRuns, "mark", mark)
    async with (
        silent_runner() as (address, deliveries),
        dispatching(database, model, runner_url=address) as dispatcher,
    ):
        dispatcher.dispatch("run")
        await eventually(lambda: asyncio.sleep(0, len(deliveries) == 1))
        dispatcher.dispatch("run")
        deliveries[0].write(b"HTTP/1.1 204 -\r\nconnection: close\r\n\r\n")
        deliveries[0].close()

        await eventually(lambda: asyncio.sleep(0, len(deliveries) == 2))


async def test_a_delivery_ends_with_its_attempt_and_not_with_the_next_one(
    agent: Served, database: TestDatabase, model: ModelServer
) -> None:
    never = asyncio.Event()
    # On a slow machine the attempt's time can be over before the request to the model.
    model.answer_all = lambda _: Reply([chunk({"content": "half"}), never])
    run_id = await leave_waiting(agent, await agent.person(), run_input("hi"))
    async with (
        silent_runner() as (address, deliveries),
        started("runner", database, model, run_deadline_seconds=0.5, runner_url=address) as runner,
    ):
        async with asyncio.timeout(5):
            answer = await runner.post_event(run_id)

        # The attempt's time was over: the run was dispatched again, and that delivery is open.
        assert answer.status_code == 204
        await until_true(database, "(select token is null from agent.lease)")

        async def is_sent_on() -> bool:
            return len(deliveries) == 1

        await eventually(is_sent_on)
    never.set()


async def test_a_run_continues_when_its_sender_leaves_and_a_second_delivery_waits_for_it(
    agent: Served, database: TestDatabase, model: ModelServer
) -> None:
    proceed = asyncio.Event()
    model.will([chunk({"content": "a"}), proceed, *says("b")])
    run_id = await leave_waiting(agent, await agent.person(), run_input("hi"))
    async with started("runner", database, model) as runner:
        first = asyncio.ensure_future(runner.post_event(run_id))
        async with asyncio.timeout(5):
            await model.requested.wait()
        first.cancel()
        second = asyncio.ensure_future(runner.post_event(run_id))
        await asyncio.wait([second], timeout=0.3)
        assert not second.done(), "so that the platform sees that the pod works"
        proceed.set()
        assert (await second).status_code == 204
    async with database.owner() as owner:
        assert await owner.fetchval("select status from agent.run") == "completed"
        assert await owner.fetchval("select attempt from agent.run") == 1


async def test_a_full_runner_refuses_and_the_run_can_be_sent_again_at_once(
    agent: Served, database: TestDatabase, model: ModelServer
) -> None:
    never = asyncio.Event()
    model.will([chunk({"content": "a"}), never])
    person = await agent.person()
    occupies = await leave_waiting(agent, person, run_input("hi", run="first", thread="first"))
    run_id = await leave_waiting(agent, person, run_input("hi"))
    async with started("runner", database, model, max_live_runs=1) as full:
        occupying = asyncio.ensure_future(full.post_event(occupies))
        async with asyncio.timeout(5):
            await model.requested.wait()
        refused = await full.post_event(run_id)
        assert (refused.status_code, refused.json()["code"]) == (503, "too_many_runs")
        assert refused.headers["retry-after"]
        # A run that a sweep sends to it may be dispatched again at once.
        async with serve(database, model, runner_url=full.base + "/") as sweeping:
            assert await sweeping.runs.worker.sweep() == 1
            waits = f"(select dispatched_at is null from agent.lease where run_id = '{run_id}')"
            await until_true(database, waits)
        occupying.cancel()
    model.answer_all = lambda _: Reply(says("done"))
    async with started("runner", database, model) as runner:
        await runner.client.post(runner.base + "/sweep")
        ended = f"(select status = 'completed' from agent.run where id = '{run_id}')"
        await until_true(database, ended)
        never.set()
