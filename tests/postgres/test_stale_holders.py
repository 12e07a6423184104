"""A holder that lost its run and does not know it yet: its process still serves readers, who may know better."""

import asyncpg

from shared.contracts import Cursor, Draft, Json, Snapshot
from shared.database import Database
from tests.fixtures.database import TestDatabase
from tests.postgres.cursors import Client
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
    await play.commit(holder, [Draft("step.finished", None, {"usage": {}})], closes=True)

    client = Client(play.told)
    client.pretend(Cursor(1, 4), [])
    await play.attach(client, late, Cursor(1, 4))
    assert isinstance(await client.next(), Snapshot)
    # Reading on fails at a snapshot after the snapshot: what this process has goes on from no place of the client's.
    await client.read()
    await play.commit(holder, [Draft("run.completed")], closes=True)
    await late.poll()
    await client.read()

    assert client.has_all
    await owner.close()
