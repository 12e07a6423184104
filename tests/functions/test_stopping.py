"""A stopping process starts no run and finishes those it holds; those it cannot finish move to another process."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from tests.doubles import ModelServer, Piece, Reply, calls, chunk, says
from tests.fixtures.database import TestDatabase
from tests.fixtures.foreign import foreign
from tests.fixtures.functions import Person, run_input
from tests.fixtures.processes import Process, started
from tests.fixtures.runners import silent_runner
from tests.fixtures.waiting import eventually, until_true

#: Far longer than any of these tests takes.
_LONG = 60.0


@pytest.fixture
async def runner(database: TestDatabase, model: ModelServer) -> AsyncIterator[Process]:
    async with started("runner", database, model) as process:
        yield process


async def attempts(database: TestDatabase) -> list[tuple[str, int]]:
    """Every run's status and the number of its last attempt."""
    async with database.owner() as owner:
        rows = await owner.fetch("select status, attempt from agent.run order by client_run_id")
    return [(row["status"], row["attempt"]) for row in rows]


async def begin(person: Person, name: str) -> None:
    """Start a run and disconnect once its first text has arrived."""
    async with person.stream("POST", "/runs", run_input("hi", run=name, thread=name)) as frames:
        await frames.until("TEXT_MESSAGE_CONTENT")


def at_first(first: list[Piece], then: list[Piece]) -> Callable[[Any], Reply]:
    """The replies of the model: `first` to a conversation's first request, `then` to its next ones."""
    seen: list[Any] = []

    def answer(request: Any) -> Reply:
        seen.append(request)
        return Reply(first if seen.count(request) == 1 else then)

    return answer


async def test_a_process_that_holds_nothing_exits_at_once(
    database: TestDatabase, model: ModelServer
) -> None:
    for function in ("assistant", "runner", "threads"):
        async with started(function, database, model, stop_grace_seconds=_LONG) as process:
            # This waits for the end of the process, for less time than the grace.
            await process.signal(signal.SIGTERM)


async def test_a_stopping_process_finishes_its_runs_and_their_streams_and_starts_no_other(
    database: TestDatabase, model: ModelServer
) -> None:
    proceed = asyncio.Event()
    model.answer_all = lambda _: Reply([chunk({"content": "first "}), proceed, *says("and last")])
    async with started("assistant", database, model, stop_grace_seconds=_LONG) as agent:
        person = await agent.new_person()
        await begin(person, "without-client")
        async with person.stream("POST", "/runs", run_input("hi")) as frames:
            await frames.until("TEXT_MESSAGE_CONTENT")
            agent.process.send_signal(signal.SIGTERM)
            await until_stopping(agent)
            refused = await person.request(
                "POST", "/runs", run_input("new", run="new", thread="new")
            )
            proceed.set()
            rest = await frames.rest()
        assert rest[-1]["type"] == "RUN_FINISHED"
        assert (refused.status_code, refused.json()["code"]) == (503, "too_many_runs")
        assert refused.headers["retry-after"]
        assert refused.headers["connection"] == "close", "the next request goes elsewhere"
        async with asyncio.timeout(10):
            await agent.process.wait()

    assert await attempts(database) == [("completed", 1)] * 2
    assert len(model.requests) == 2


async def until_stopping(process: Process) -> None:
    """Wait until a process that got a signal accepts no more work."""

    async def is_stopping() -> bool:
        try:
            return (await process.client.get(process.base + "/readiness")).status_code == 503
        except httpx.ConnectError:
            # It holds no run, and no longer listens.
            return True
        except httpx.TransportError:
            # It closed an idle connection.
            return False

    await eventually(is_stopping)


async def test_a_stopping_process_serves_streams_of_runs_that_live_elsewhere(
    database: TestDatabase, model: ModelServer
) -> None:
    proceed = asyncio.Event()
    model.will([chunk({"content": "first "}), proceed, *says("and last")])
    async with (
        started("assistant", database, model) as holder,
        started("assistant", database, model, stop_grace_seconds=_LONG) as other,
    ):
        person = await holder.new_person()
        await begin(person, "run-1")
        reader = other.person(person)
        async with reader.stream("GET", "/runs/run-1/events") as frames:
            await frames.until("TEXT_MESSAGE_CONTENT")
            other.process.send_signal(signal.SIGTERM)
            proceed.set()
            rest = await frames.rest()
    assert rest[-1]["type"] == "RUN_FINISHED"


async def test_runs_that_outlast_the_grace_go_to_the_runner(
    database: TestDatabase, model: ModelServer, runner: Process
) -> None:
    never = asyncio.Event()
    model.answer_all = at_first([chunk({"content": "half "}), never], says("whole"))
    async with started("assistant", database, model, runner_url=runner.base + "/") as agent:
        person = await agent.new_person()
        for nth in range(6):
            body = run_input(f"hi {nth}", run=f"run-{nth}", thread=f"thread-{nth}")
            async with person.stream("POST", "/runs", body) as frames:
                await frames.until("TEXT_MESSAGE_CONTENT")
        await agent.signal(signal.SIGTERM)

        # No client returns and nothing sweeps: the process itself dispatched each run.
        await until_true(database, "not exists (select from agent.run where ended_at is null)")
    assert await attempts(database) == [("completed", 2)] * 6
    async with database.owner() as owner:
        texts = await owner.fetch(
            "select distinct data ->> 'content'as text from agent.item"
            " where superseded_at is null and data ->> 'role' = 'assistant'"
        )
    assert [row["text"] for row in texts] == ["whole"]
    never.set()


async def test_near_the_end_of_the_grace_a_run_is_released_between_two_turns(
    database: TestDatabase, model: ModelServer, runner: Process
) -> None:
    done = asyncio.Event()

    async def call(_: Any) -> dict[str, Any]:
        await done.wait()
        return {"content": [{"type": "text", "text": "done"}]}

    model.will(calls(("c1", "work", "{}")), says("whole"))
    async with foreign(call, {"name": "work", "inputSchema": {"type": "object"}}) as (url, _):
        servers = f'{{"world": {{"url": "{url}", "approval": "never"}}}}'
        async with started(
            "assistant",
            database,
            model,
            runner_url=runner.base + "/",
            mcp_servers=servers,
            stop_grace_seconds=_LONG,
            stop_handover_seconds=_LONG,
        ) as agent:
            person = await agent.new_person()
            async with person.stream("POST", "/runs", run_input("hi")) as frames:
                await frames.until("TOOL_CALL_END")
                agent.process.send_signal(signal.SIGTERM)
                await until_stopping(agent)
                done.set()
                async with asyncio.timeout(10):
                    await agent.process.wait()
        await until_true(database, "not exists (select from agent.run where ended_at is null)")

    assert await attempts(database) == [("completed", 2)]
    assert len(model.requests) == 2, "a closed turn is not repeated"


async def test_runs_that_no_runner_took_may_be_dispatched_again_at_once(
    database: TestDatabase, model: ModelServer
) -> None:
    never = asyncio.Event()
    model.will([chunk({"content": "half "}), never])
    async with (
        silent_runner() as (address, _),
        started("assistant", database, model, runner_url=address) as agent,
    ):
        await begin(await agent.new_person(), "run-1")
        await agent.signal(signal.SIGTERM)

    async with database.owner() as owner:
        lease = await owner.fetchrow(
            "select token, dispatched_at, stalled_attempts, unfinished_attempts from agent.lease"
        )
    assert lease is not None
    assert (lease["token"], lease["dispatched_at"]) == (None, None)
    assert (lease["stalled_attempts"], lease["unfinished_attempts"]) == (1, 0)
    never.set()


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_stops_at_once_and_releases_the_run(
    database: TestDatabase, model: ModelServer, second: signal.Signals
) -> None:
    never = asyncio.Event()
    model.will([chunk({"content": "half "}), never])
    async with started("assistant", database, model, stop_grace_seconds=_LONG) as agent:
        person = await agent.new_person()
        async with person.stream("POST", "/runs", run_input("hi")) as frames:
            await frames.until("TEXT_MESSAGE_CONTENT")
            agent.process.send_signal(signal.SIGINT)
            await until_stopping(agent)
            agent.process.send_signal(second)
            async with asyncio.timeout(5):
                await agent.process.wait()

    await until_true(database, "(select token is null from agent.lease)")
    never.set()


@pytest.mark.parametrize("seconds", [0.3, _LONG])
async def test_a_stream_that_is_cut_by_a_stop_does_not_cancel_its_run(
    database: TestDatabase, model: ModelServer, seconds: float
) -> None:
    never = asyncio.Event()
    model.will([chunk({"content": "half "}), never])
    request = run_input("hi", forwardedProps={"onDisconnect": "cancel"})
    async with (
        started("assistant", database, model) as holder,
        started("assistant", database, model, stop_grace_seconds=seconds) as other,
    ):
        person = await holder.new_person()
        async with person.stream("POST", "/runs", request) as first:
            await first.until("TEXT_MESSAGE_CONTENT")
            # The same request again attaches to the run, in a process that does not hold it.
            async with other.person(person).stream("POST", "/runs", request) as second:
                await second.until("MESSAGES_SNAPSHOT")
                other.process.send_signal(signal.SIGTERM)
                if seconds == _LONG:
                    await until_stopping(other)
                    other.process.send_signal(signal.SIGTERM)
                async with asyncio.timeout(5):
                    await other.process.wait()
            async with database.owner() as owner:
                lease = await owner.fetchrow("select cancel_requested_at from agent.lease")
            assert lease, "it was ended"
            assert lease["cancel_requested_at"] is None
    never.set()
