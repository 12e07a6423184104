"""Erased data stays erased: a call in flight, or a late one, writes nothing after the erasure."""

import asyncio
from datetime import timedelta

import pytest

from functions.tools.notes import add_note
from shared.agents.context import RunContext, ToolContext, ToolUser
from shared.core.json import Json
from shared.database.pool import Database, Refused
from tests.fixtures.database import TestDatabase
from tests.fixtures.waiting import eventually
from tests.postgres.holders import LEASE, append, begin, entry, expire, row

#: Writing a note waits inside its statement while a session holds this lock.
_HOLD_NOTES = """
create function public.hold() returns trigger language plpgsql as
  $$ begin perform pg_advisory_xact_lock(7); return new; end $$;
create trigger hold before insert on agent.note for each row execute function public.hold();
select pg_advisory_lock(7);
"""
_WAITING = "select count(*) from pg_locks where not granted"


async def write(db: Database, user: Json, run_id: str | None, key: str = "call-1") -> None:
    """Have the tool write a note, for a run or directly."""
    owner = ToolUser(user)
    run = RunContext(id=run_id, user=owner) if run_id else None
    context = ToolContext(user=owner, run=run, database=db, key=key)
    await add_note.run({"text": "a secret"}, context)


async def notes(database: TestDatabase) -> int:
    async with database.owner() as owner:
        return int(await owner.fetchval("select count(*) from agent.note"))


async def test_a_note_in_flight_is_erased_too(
    db: Database, user: Json, database: TestDatabase
) -> None:
    leased = await begin(db, user)
    async with database.owner() as owner:

        async def waiting(count: int) -> bool:
            return bool(await owner.fetchval(_WAITING) >= count)

        await owner.execute(_HOLD_NOTES)
        writing = asyncio.ensure_future(write(db, user, leased["run_id"]))
        await eventually(lambda: waiting(1))
        erasing = asyncio.ensure_future(db.call("erase_user", user, "request-1"))

        async def is_under_way() -> bool:
            return erasing.done() or await waiting(2)

        await eventually(is_under_way)
        await owner.execute("select pg_advisory_unlock(7)")
        await asyncio.gather(writing, erasing)

    assert await notes(database) == 0


async def test_a_call_of_an_erased_run_writes_nothing(
    db: Database, user: Json, database: TestDatabase
) -> None:
    leased = await begin(db, user)
    await db.call("erase_user", user, "request-1")

    with pytest.raises(Refused, match="run_not_found"):
        await write(db, user, leased["run_id"])
    assert await append(db, entry(leased, row(2, "run.cancelled"))) == ["cancel"]
    while await db.call("remove_erased", user):
        pass
    with pytest.raises(Refused, match="run_not_found"):
        await write(db, user, leased["run_id"])

    assert await notes(database) == 0
    await write(db, user, None)
    again = await begin(db, user)
    await write(db, user, again["run_id"], "call-2")
    assert await notes(database) == 2, "what the user does from here on is kept"


async def test_a_call_writes_for_no_run_of_another_user(
    db: Database, user: Json, database: TestDatabase
) -> None:
    leased = await begin(db, user)
    async with database.owner() as owner:
        stranger = await owner.fetchval(
            "insert into auth.users (id) values (gen_random_uuid()) returning id"
        )

    with pytest.raises(Refused, match="run_not_found"):
        await write(db, {**user, "sub": str(stranger)}, leased["run_id"])
    assert await notes(database) == 0


async def test_a_run_is_not_removed_while_a_late_holder_may_append(
    db: Database, user: Json, database: TestDatabase
) -> None:
    """A removal that waits for a holder's lease, and a holder that waits for the removed run, wait for ever."""
    leased = await begin(db, user)
    await db.call("delete_thread", user, "thread-1", None, "request-1")
    await expire(database, leased)
    async with database.owner() as holder, holder.transaction():
        await holder.execute("update agent.thread set deleted_at = '-infinity'")
    async with database.owner() as holder, holder.transaction():
        await holder.execute("select from agent.lease for update")
        async with asyncio.timeout(5):
            assert await db.call("prune", *[timedelta(hours=1)] * 3, 100) == 0

    await db.call("claim_run", leased["run_id"], LEASE, {"max_hours": 24})
    assert await db.call("prune", *[timedelta(hours=1)] * 3, 100) == 3, "an item, a run, a thread"
