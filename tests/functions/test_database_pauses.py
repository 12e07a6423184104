"""Postgres pauses or fails over under live runs: they wait and continue, keep their holder, and buffer little."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from urllib.parse import urlsplit

from shared.core.json import Json
from tests.chaos.cables import Cable, serving
from tests.doubles import ModelServer, Reply, chunk, says
from tests.fixtures.conversations import text, types
from tests.fixtures.database import TestDatabase
from tests.fixtures.functions import Person, Served, run_input, serve
from tests.fixtures.waiting import eventually, until_true
from tests.postgres.holders import superuser

_LEASE = 1.0


@asynccontextmanager
async def behind_a_cable(
    database: TestDatabase, model: ModelServer
) -> AsyncIterator[tuple[Served, Served, Cable]]:
    """Two processes of the function, whose connection to Postgres can pause."""
    port = urlsplit(database.url).port or 0
    cable = Cable(port)
    cable.open.set()
    async with serving(cable):
        url = database.url.replace(f":{port}/", f":{cable.port}/")
        quick: Json = {
            "lease_seconds": _LEASE,
            "lease_renew_seconds": 0.2,
            "takeover_grace_seconds": 0.5,
        }
        far = replace(database, url=url)
        async with serve(far, model, **quick) as one, serve(far, model, **quick) as other:
            yield one, other, cable


async def read(person: Person, nth: int) -> list[str]:
    body = run_input("hi", run=f"run-{nth}", thread=f"thread-{nth}")
    async with person.stream("POST", "/runs", body) as frames:
        seen = await frames.rest()
    return [types(seen)[-1], text(seen)]


async def test_a_pause_longer_than_a_lease_moves_no_run_and_buffers_little(
    database: TestDatabase, model: ModelServer
) -> None:
    words = [f"{nth} " for nth in range(400)]
    paced = [piece for word in words for piece in (chunk({"content": word}), 0.01)]
    model.answer_all = lambda _: Reply([*paced, *says()])
    async with behind_a_cable(database, model) as (agent, other, cable):
        person = await agent.person()
        reading = [asyncio.ensure_future(read(person, nth)) for nth in range(50)]
        started = "(select count(*) from agent.run where status = 'in_progress') = 50"
        await until_true(database, started)
        pause = asyncio.ensure_future(cable.pause(_LEASE * 3))
        await until_true(database, "not exists (select from agent.lease where until > now())")
        # Another process looks as soon as Postgres is back: all leases have expired, and no holder has renewed one yet.
        sweeping = asyncio.ensure_future(other.runs.worker.sweep())
        await asyncio.sleep(_LEASE)
        held_back = [live.pending_events for live in agent.runs.writer.live_runs()]
        await pause
        await sweeping
        seen = await asyncio.gather(*reading)

    assert seen == [["RUN_FINISHED", "".join(words)]] * 50
    # Reading from the model stops after two seconds: at 100 events a second that is a few hundred of each run.
    assert max(held_back) < 350
    async with database.owner() as owner:
        assert await owner.fetchval("select max(attempt) from agent.run") == 1, (
            "no process took one over"
        )


async def test_a_run_survives_a_failover_to_a_read_only_server_and_back(
    agent: Served, model: ModelServer, database: TestDatabase
) -> None:
    proceed = asyncio.Event()
    model.will([chunk({"content": "before "}), proceed, *says("after")])
    person = await agent.person()
    async with (
        superuser(database) as administrator,
        person.stream("POST", "/runs", run_input("hi")) as frames,
    ):
        await frames.until("TEXT_MESSAGE_CONTENT")
        name = await administrator.fetchval("select current_database()")
        disconnect = (
            "select pg_terminate_backend(pid, 5000) from pg_stat_activity"
            " where usename = 'agent_api' and datname = current_database()"
        )
        await administrator.execute(f"alter database {name} set default_transaction_read_only = on")
        await administrator.execute(disconnect)
        proceed.set()
        ready = f"{agent.base}/readiness"
        # A new client is refused at once.
        refused = await person.request("POST", "/runs", run_input("x", run="run-2", thread="2"))
        assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
        await administrator.execute("set default_transaction_read_only = off")
        await administrator.execute(f"alter database {name} reset default_transaction_read_only")
        await administrator.execute(disconnect)
        seen = await frames.rest()

        async def is_ready() -> bool:
            return (await agent.client.get(ready)).status_code == 200

        await eventually(is_ready)

    assert text(seen) == "after"
    assert types(seen)[-1] == "RUN_FINISHED"
