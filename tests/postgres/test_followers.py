"""Followers of runs that other processes hold: one query per tick for any number of them."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from contextlib import aclosing
from typing import Any
from uuid import uuid4

import pytest

from shared.core.errors import RunNotFound, Unavailable
from shared.core.events import Snapshot
from shared.core.json import Json
from shared.core.settings import Settings
from shared.database.pool import Database
from shared.runs.reader import LogReader
from shared.runs.store import RunStore
from tests.fixtures.database import TestDatabase
from tests.fixtures.waiting import eventually
from tests.postgres.holders import (
    admit,
    append,
    begin,
    connected,
    entry,
    expire,
    message,
    row,
    run_request,
)

_FOLLOWERS = 500


class Counting:
    """A database that counts its calls."""

    def __init__(self, database: Database) -> None:
        self.calls: Counter[str] = Counter()
        self._database = database

    async def rows(self, function: str, *arguments: Any) -> list[Mapping[str, Any]]:
        self.calls[function] += 1
        return await self._database.rows(function, *arguments)

    async def call(self, function: str, *arguments: Any) -> Any:
        return await self._database.call(function, *arguments)


async def test_five_hundred_followers_cost_one_query_per_tick(database: TestDatabase) -> None:
    user = await admit(database)
    async with connected(database.url) as db:
        counting = Counting(db)
        runs = RunStore(db, Settings(supabase_database_url=database.url))
        follow = LogReader(
            runs,
            counting,  # type: ignore[arg-type]  # of a Database, what it uses
            lambda _: None,
            lambda _: None,
            tick=0.1,
            keep_alive=60,
        )
        polling = asyncio.ensure_future(follow.run())
        leased = [
            await begin(db, user, run_request(run=f"r{n}", thread=f"t{n}")) for n in range(20)
        ]

        async def read(nth: int) -> list[str]:
            view = await runs.find(user, client_run_id=f"r{nth % 20}")
            seen: list[str] = []
            async with aclosing(follow.follow(user, view, None)) as parts:
                async for part in parts:
                    assert isinstance(part, list)
                    seen += [event.type for event in part]
            return seen

        readers = [asyncio.ensure_future(read(nth)) for nth in range(_FOLLOWERS)]

        async def all_follow() -> bool:
            return sum(feed.followers for feed in follow._remote.values()) == _FOLLOWERS

        await eventually(all_follow)
        counting.calls.clear()
        loop = asyncio.get_running_loop()
        began = loop.time()
        await asyncio.sleep(1.0)
        ticks = (loop.time() - began) / 0.1
        assert 1 <= counting.calls["poll_runs"] <= ticks + 1
        for held in leased:
            items = message(2, str(uuid4()), "hi")
            await append(db, entry(held, *items, row(5, "run.completed"), closes=True))
        async with asyncio.timeout(10):
            seen = await asyncio.gather(*readers)
        polling.cancel()

    assert all(types[-1] == "run.completed" and len(types) == 5 for types in seen)


async def test_a_follower_learns_within_a_tick_that_no_process_holds_its_run(
    database: TestDatabase,
) -> None:
    user = await admit(database)
    reported: list[str] = []
    recovered = asyncio.Event()

    def recover(run_id: str) -> None:
        reported.append(run_id)
        recovered.set()

    async with connected(database.url) as db:
        runs = RunStore(db, Settings(supabase_database_url=database.url))
        follow = LogReader(runs, db, lambda _: None, recover, tick=0.05, keep_alive=60)
        polling = asyncio.ensure_future(follow.run())
        leased: Json = await begin(db, user)
        view = await runs.find(user, client_run_id="run-1")

        async def read() -> None:
            async with aclosing(follow.follow(user, view, None)) as parts:
                async for _ in parts:
                    pass

        reading = asyncio.ensure_future(read())
        await asyncio.sleep(0.2)
        assert not reported, "a process holds it"
        await expire(database, leased)
        async with asyncio.timeout(5):
            await recovered.wait()
        for task in (reading, polling):
            task.cancel()

    assert set(reported) == {leased["run_id"]}


class Failing:
    """The runs of a database that is away for the first snapshots."""

    def __init__(self, runs: RunStore, times: int) -> None:
        self._runs = runs
        self._times = times

    async def snapshot(self, claims: Json, run_id: str) -> Snapshot:
        if self._times:
            self._times -= 1
            raise Unavailable
        return await self._runs.snapshot(claims, run_id)


async def test_a_reader_waits_for_a_database_that_is_away(database: TestDatabase) -> None:
    user = await admit(database)
    async with connected(database.url) as db:
        runs = RunStore(db, Settings(supabase_database_url=database.url))
        leased = await begin(db, user, run_request())
        view = await runs.find(user, client_run_id=leased["client_run_id"])

        async def first_parts(reader: RunStore, count: int) -> list[object]:
            follow = LogReader(reader, db, lambda _: None, lambda _: None, tick=0.1, keep_alive=60)
            async with aclosing(
                follow.follow(user, view, None, starts_with_snapshot=True)
            ) as parts:
                return [await anext(parts) for _ in range(count)]

        failing = Failing(runs, times=2)
        *waits, snapshot = await first_parts(failing, 3)  # type: ignore[arg-type]  # of Runs, what it uses

    assert waits == [[], []], "keep-alives"
    assert isinstance(snapshot, Snapshot)


async def test_a_reader_of_a_deleted_run_gets_an_error(database: TestDatabase) -> None:
    user = await admit(database)
    async with connected(database.url) as db:
        runs = RunStore(db, Settings(supabase_database_url=database.url))
        leased = await begin(db, user, run_request())
        view = await runs.find(user, client_run_id=leased["client_run_id"])
        async with database.owner() as owner:
            await owner.execute("delete from agent.run")
        follow = LogReader(runs, db, lambda _: None, lambda _: None, tick=0.1, keep_alive=60)
        async with aclosing(follow.follow(user, view, None, starts_with_snapshot=True)) as parts:
            with pytest.raises(RunNotFound):
                await anext(parts)


@pytest.mark.parametrize("loss", ["delete from agent.run", "delete from auth.users"])
async def test_a_follower_of_a_run_that_is_deleted_gets_an_error(
    database: TestDatabase, loss: str
) -> None:
    user = await admit(database)
    async with connected(database.url) as db:
        runs = RunStore(db, Settings(supabase_database_url=database.url))
        view = await runs.find(
            user, client_run_id=(await begin(db, user, run_request()))["client_run_id"]
        )
        follow = LogReader(runs, db, lambda _: None, lambda _: None, tick=0.05, keep_alive=0.05)
        polling = asyncio.ensure_future(follow.run())

        async with aclosing(follow.follow(user, view, None)) as parts, asyncio.timeout(5):
            assert [event.type for event in await anext(parts)] == ["run.started"]  # type: ignore[union-attr]
            async with database.owner() as owner:
                await owner.execute(loss)
            with pytest.raises(RunNotFound):
                assert [part async for part in parts if part] == []
        polling.cancel()
