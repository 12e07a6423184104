"""Readers that start with an outdated view of the run, or with a cursor that is in no log."""

import asyncio
from uuid import uuid4

import pytest

from shared.core.events import Cursor, Draft, LogEvent, Snapshot
from shared.core.json import Json
from shared.core.settings import Settings
from shared.database.pool import Database
from shared.runs.live import LiveRun
from shared.runs.reader import LogReader
from shared.runs.results import Leased, RunView
from shared.runs.store import RunStore
from shared.runs.writer import LogWriter
from tests.fixtures.database import TestDatabase
from tests.postgres.holders import expire, run_request

_SETTINGS = Settings(takeover_grace_seconds=0.0)


class Process:
    """The parts of a process that hold and follow runs, without clocks."""

    def __init__(self, db: Database, user: Json) -> None:
        self.runs = RunStore(db, _SETTINGS)
        self.journal = LogWriter(db, _SETTINGS)
        # A keep-alive of zero: a reader without news returns an empty part at once.
        self._follow = LogReader(
            self.runs, db, self.journal.feed, lambda _: None, tick=0.01, keep_alive=0
        )
        self._user = user

    async def take(self, run_id: str) -> LiveRun:
        taken = await self.runs.claim(run_id, ["assistant"])
        assert isinstance(taken, Leased)
        return self.journal.open(taken)

    async def commit(self, live: LiveRun, *drafts: Draft) -> None:
        committing = asyncio.ensure_future(live.commit(drafts))
        await asyncio.sleep(0)
        await self.journal.flush([live])
        await asyncio.gather(committing, return_exceptions=True)

    async def read(self, view: RunView, cursor: Cursor) -> list[list[LogEvent] | Snapshot]:
        """All parts that a reader gets, polled until no more come."""
        parts: list[list[LogEvent] | Snapshot] = []
        reader, silences = self._follow.follow(self._user, view, cursor), 0
        while silences < 3 and (part := await anext(reader, None)) is not None:
            await self._follow._poll()
            silences = 0 if part else silences + 1
            parts += [part] if part else []
        await reader.aclose()
        return parts


def beginning(words: int) -> list[Draft]:
    """The beginning of a message."""
    item_id, delta = str(uuid4()), {"channel": "text", "delta": "x"}
    started = Draft("item.started", item_id, {"kind": "message"})
    return [started, *[Draft("item.delta", item_id, delta)] * words]


@pytest.fixture
def here(db: Database, user: Json) -> Process:
    return Process(db, user)


async def sent(here: Process, user: Json, database: TestDatabase) -> tuple[LiveRun, RunView]:
    """A run of this process with sent, uncommitted events; its lease has expired since the view was read."""
    leased = await here.runs.start(user, run_request())
    assert isinstance(leased, Leased)
    live, view = here.journal.open(leased), await here.runs.find(user, client_run_id="run-1")
    await live.send(beginning(8))
    await expire(database, {"run_id": leased.run_id})
    return live, view


async def test_uncommitted_events_of_a_lost_run_are_no_place_in_the_log(
    here: Process, db: Database, user: Json, database: TestDatabase
) -> None:
    live, view = await sent(here, user, database)
    there = Process(db, user)
    await there.commit(await there.take(view.run_id), Draft("run.completed"))
    await here.journal.flush([live])
    assert live.is_dropped

    parts = await here.read(view, Cursor(1, live.feed.last_seq))

    assert isinstance(parts[0], Snapshot)
    assert isinstance(parts[-1], list)
    assert parts[-1][-1].type == "run.completed"


async def test_events_of_the_next_attempt_do_not_continue_those_of_the_last_one(
    here: Process, user: Json, database: TestDatabase
) -> None:
    live, view = await sent(here, user, database)
    here.journal.close(live)
    again = await here.take(view.run_id)
    # As many events as the reader has, so that its place exists in this attempt, too.
    await here.commit(again, *beginning(8))

    parts = await here.read(view, Cursor(1, live.feed.last_seq))

    assert isinstance(parts[0], Snapshot)
    assert [event.data["delta"] for event in parts[0].open[1:]] == ["x"] * 8
