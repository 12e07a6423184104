"""Deliveries of waiting runs: open as long as the attempt they started, as many as there are, never a run's support."""

import asyncio
from uuid import uuid4

from shared.runs.dispatch import Dispatcher
from tests.doubles import ModelServer, Reply, chunk, says
from tests.fixtures.database import TestDatabase
from tests.fixtures.functions import Served, says_user, settings_for
from tests.fixtures.processes import started
from tests.fixtures.runners import silent_runner
from tests.fixtures.waiting import eventually, until_true
from tests.postgres.holders import connected

_BACKGROUND = {"forwardedProps": {"background": True}}


async def waiting_run(agent: Served, name: str = "run-1") -> str:
    """A background run that nobody was told of."""
    person = await agent.person()
    agent.app.state.holder._dispatch.send = lambda _: asyncio.sleep(0)
    asked = says_user("hi", run=name, thread=name, **_BACKGROUND)
    assert (await person.ask("POST", "/runs", asked)).status_code == 202
    async with agent.database.owner() as owner:
        return str(await owner.fetchval("select id from agent.run where key = $1", name))


async def test_no_small_number_of_open_deliveries_makes_the_others_wait(
    database: TestDatabase, model: ModelServer
) -> None:
    many = 150

    async def never(_: str) -> bool:
        raise AssertionError("there is an address")

    async with silent_runner() as (address, deliveries), connected(database.url) as db:
        settings = settings_for(database, model, runner_url=address)
        dispatch = Dispatcher(db, settings, never)
        sending = [asyncio.ensure_future(dispatch.deliver(str(uuid4()))) for _ in range(many)]

        async def are_there() -> bool:
            return len(deliveries) == many

        await eventually(are_there)
        assert len(dispatch.sending) == many
        for task in sending:
            task.cancel()
        await asyncio.gather(*sending, return_exceptions=True)
        await dispatch.close()


async def test_a_sender_waits_for_a_broker_as_long_as_a_run_may_take(
    database: TestDatabase, model: ModelServer
) -> None:
    settings = settings_for(database, model, k_sink="http://127.0.0.1:9/", run_deadline_seconds=100)
    async with connected(database.url) as db:
        dispatch = Dispatcher(db, settings, lambda _: asyncio.sleep(0, True))

    assert dispatch._seconds == 130


async def test_a_delivery_ends_with_its_attempt_and_not_with_the_next_one(
    agent: Served, database: TestDatabase, model: ModelServer
) -> None:
    never = asyncio.Event()
    # On a slow machine its time is over before the model is asked.
    model.answer_all = lambda _: Reply([chunk({"content": "half"}), never])
    run_id = await waiting_run(agent)
    async with (
        silent_runner() as (address, deliveries),
        started("runner", database, model, run_deadline_seconds=0.5, runner_url=address) as runner,
    ):
        async with asyncio.timeout(5):
            answer = await runner.post_event(run_id)

        # Its time there was over: it was sent on, and that delivery is open.
        assert answer.status_code == 204
        await until_true(database, "(select token is null from agent.lease)")

        async def is_sent_on() -> bool:
            return len(deliveries) == 1

        await eventually(is_sent_on)
    never.set()


async def test_a_run_goes_on_when_its_sender_leaves_and_a_second_delivery_waits_for_it(
    agent: Served, database: TestDatabase, model: ModelServer
) -> None:
    go_on = asyncio.Event()
    model.will([chunk({"content": "a"}), go_on, *says("b")])
    run_id = await waiting_run(agent)
    async with started("runner", database, model) as runner:
        first = asyncio.ensure_future(runner.post_event(run_id))
        async with asyncio.timeout(5):
            await model.asked.wait()
        first.cancel()
        second = asyncio.ensure_future(runner.post_event(run_id))
        await asyncio.wait([second], timeout=0.3)
        assert not second.done(), "so that the platform sees that the pod works"
        go_on.set()
        assert (await second).status_code == 204
    async with database.owner() as owner:
        assert await owner.fetchval("select status from agent.run") == "completed"
        assert await owner.fetchval("select attempt from agent.run") == 1


async def test_a_full_runner_refuses_and_the_run_can_be_sent_again_at_once(
    agent: Served, database: TestDatabase, model: ModelServer
) -> None:
    never = asyncio.Event()
    model.will([chunk({"content": "a"}), never])
    occupies, run_id = await waiting_run(agent, "first"), await waiting_run(agent)
    async with started("runner", database, model, max_live_runs=1) as full:
        occupying = asyncio.ensure_future(full.post_event(occupies))
        async with asyncio.timeout(5):
            await model.asked.wait()
        refused = await full.post_event(run_id)
        assert (refused.status_code, refused.json()["code"]) == (503, "too_many_runs")
        assert refused.headers["retry-after"]
        # What a sweep sends to it may be sent again at once.
        del agent.app.state.holder._dispatch.send
        agent.app.state.holder._dispatch._address = full.base + "/"
        assert await agent.app.state.holder.sweep() == 1
        waits = f"(select dispatched_at is null from agent.lease where run_id = '{run_id}')"
        await until_true(database, waits)
        occupying.cancel()
    model.answer_all = lambda _: Reply(says("done"))
    async with started("runner", database, model) as runner:
        await runner.client.post(runner.base + "/sweep")
        ended = f"(select status = 'completed' from agent.run where id = '{run_id}')"
        await until_true(database, ended)
        never.set()
