"""A holder that does not know yet that it lost its run: its process still serves readers with newer cursors."""

import asyncio
from typing import Any

import asyncpg

from shared.core.events import Cursor, Draft, Snapshot
from shared.core.json import Json
from shared.core.settings import Settings
from shared.database.pool import Database
from shared.runs.results import Leased
from shared.runs.store import RunStore
from shared.runs.writer import LogWriter
from tests.fixtures.database import TestDatabase
from tests.postgres.cursors import Client
from tests.postgres.holders import run_request
from tests.postgres.plays import Play


async def test_a_reader_of_the_next_holder_is_not_with_the_last_one(
    db: Database, user: Json, database: TestDatabase
) -> None:
    owner = await asyncpg.connect(database.owner_url)
    play = Play(db, owner, user)
    late, holder, _ = play.processes
    await play.begin(late, queued=False)
    await play.send(late, play.drafts(late, ["start", "say", "say"]))
    await play.take(holder)
    await play.commit(holder, [Draft("turn.finished", None, {"usage": {}})], closes=True)

    client = Client(play.holder_logs)
    client.pretend(Cursor(1, 4), [])
    await play.attach(client, late, Cursor(1, 4))
    assert isinstance(await client.next(), Snapshot)
    # A further read would get a second snapshot: the log of this process continues no place that the client has.
    await client.read()
    await play.commit(holder, [Draft("run.completed")], closes=True)
    await late.poll()
    await client.read()

    assert client.has_all
    await owner.close()


class SlowToAnswer(Database):
    """Its answers are delayed, as for a process that was frozen meanwhile."""

    async def call(self, function: str, *arguments: Any) -> Any:
        answer = await super().call(function, *arguments)
        await asyncio.sleep(0.3)
        return answer


async def test_a_process_with_a_late_renewal_sends_no_event_before_its_confirmation(
    user: Json, database: TestDatabase
) -> None:
    # Two thirds of the lease are over by then.
    settings = Settings(
        supabase_database_url=database.url, lease_seconds=0.4, lease_renew_seconds=0.1
    )
    slow = SlowToAnswer(settings)
    leased = await RunStore(slow, settings).start(user, run_request())
    assert isinstance(leased, Leased)
    journal = LogWriter(slow, settings)
    live = journal.open(leased)
    draft = Draft("item.started", None, {"kind": "message"})

    sending = asyncio.ensure_future(live.send([draft]))
    await asyncio.sleep(0.02)
    assert [event.type for event in live.feed.events] == ["run.started"]
    await journal.flush([live])
    await sending

    assert [event.type for event in live.feed.events] == ["run.started", "item.started"]
    await slow.close()
