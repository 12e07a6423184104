"""Interrupts that an ended run leaves open, and reading the log of any run."""

import asyncio
from uuid import uuid4

import pytest

from shared.core.json import Json
from shared.database.pool import Database, Refused
from tests.fixtures.database import TestDatabase
from tests.postgres.holders import (
    admit,
    append,
    begin,
    entry,
    message,
    row,
    run_request,
)


async def interrupted(db: Database, user: Json, *ids: str) -> None:
    """A run that ended with interrupts."""
    leased = await begin(db, user)
    interrupts = [{"id": id_, "call_id": str(uuid4()), "reason": "tool_call"} for id_ in ids]
    await append(db, entry(leased, row(2, "run.interrupted", interrupts=interrupts)))


def resumes(*ids: str, run: str = "run-2", status: str = "resolved") -> Json:
    answers = [{"interrupt_id": id_, "status": status, "payload": {"ok": True}} for id_ in ids]
    return run_request(run=run, resume=answers, messages=[])


async def test_an_interrupted_run_leaves_its_interrupts_open(
    db: Database, database: TestDatabase, user: Json
) -> None:
    first, second = str(uuid4()), str(uuid4())
    await interrupted(db, user, first, second)

    found = await db.call("find_run", user, "run-1", None)
    assert found["status"] == "interrupted"
    async with database.owner() as owner:
        rows = await owner.fetch("select id, status, owner from agent.interrupt")
    assert {(str(r["id"]), r["status"]) for r in rows} == {(first, "open"), (second, "open")}
    assert {str(r["owner"]) for r in rows} == {user["sub"]}


async def test_a_run_that_does_not_answer_every_interrupt_is_refused(
    db: Database, user: Json
) -> None:
    first, second = str(uuid4()), str(uuid4())
    await interrupted(db, user, first, second)

    for request in (run_request(run="run-2"), resumes(first), resumes(str(uuid4()))):
        with pytest.raises(Refused, match="interrupt_open"):
            await begin(db, user, request)

    unknown = resumes(first, second, str(uuid4()))
    assert (await begin(db, user, unknown))["outcome"] == "leased"


async def test_an_answer_is_accepted_once(db: Database, database: TestDatabase, user: Json) -> None:
    interrupt = str(uuid4())
    await interrupted(db, user, interrupt)

    answered = await begin(db, user, resumes(interrupt, status="cancelled"))
    with pytest.raises(Refused, match="interrupt_resolved"):
        await begin(db, user, {**resumes(interrupt, run="run-3"), "busy": "enqueue"})

    async with database.owner() as owner:
        kept = await owner.fetchrow("select status, resolved_by from agent.interrupt")
    assert kept is not None
    assert (kept["status"], str(kept["resolved_by"])) == ("cancelled", answered["run_id"])


async def test_two_answers_at_once_give_one_run(db: Database, user: Json) -> None:
    interrupt = str(uuid4())
    await interrupted(db, user, interrupt)

    async def answer(run: str) -> str:
        try:
            request = {**resumes(interrupt, run=run), "busy": "enqueue"}
            return str((await begin(db, user, request))["outcome"])
        except Refused as refused:
            return refused.code

    outcomes = await asyncio.gather(*(answer(f"run-{n}") for n in range(2, 10)))
    assert sorted(outcomes) == ["interrupt_resolved"] * 7 + ["leased"]


async def test_a_user_cannot_answer_another_users_interrupt(
    db: Database, database: TestDatabase, user: Json
) -> None:
    interrupt = str(uuid4())
    await interrupted(db, user, interrupt)

    stranger = await admit(database)
    request = {**run_request(run="run-2"), "resume": resumes(interrupt)["resume"]}
    await begin(db, stranger, request)

    async with database.owner() as owner:
        assert await owner.fetchval("select status from agent.interrupt") == "open"


async def test_a_snapshot_is_of_one_moment(db: Database, user: Json) -> None:
    leased = await begin(db, user)
    started = message(2, str(uuid4()), "")[:1]
    await append(db, entry(leased, *started))
    item, done = started[0]["item_id"], asyncio.Event()

    async def write() -> None:
        for seq in range(3, 103):
            delta = {**row(seq, "item.delta", item), "data": {"channel": "text", "deltas": ["x"]}}
            await append(db, entry(leased, delta))
        done.set()

    async def read() -> int:
        reads = 0
        while not done.is_set() or not reads:
            snapshot = await db.call("read_snapshot", user, leased["run_id"])
            held = sum(part["count"] for part in snapshot["open"])
            assert held == snapshot["seq"] - 1, "the text and the position are of one moment"
            reads += 1
        return reads

    async with asyncio.timeout(20):
        _, *reads = await asyncio.gather(write(), read(), read())
    assert min(reads) > 3


async def test_a_snapshot_of_an_ended_run_stands_before_its_ending(
    db: Database, user: Json
) -> None:
    leased = await begin(db, user)
    await append(db, entry(leased, *message(2, str(uuid4()), "hi"), row(5, "run.completed")))

    snapshot = await db.call("read_snapshot", user, leased["run_id"])

    assert (snapshot["seq"], snapshot["open"]) == (4, [])
    assert len(snapshot["items"]) == 2


async def test_reading_returns_the_events_after_each_place_in_order(
    db: Database, user: Json
) -> None:
    one = await begin(db, user)
    two = await begin(db, user, run_request(run="run-2", thread="thread-2"))
    item = str(uuid4())
    five = {
        **row(3, "item.delta", item),
        "count": 5,
        "data": {"channel": "text", "deltas": ["a"] * 5},
    }
    head = row(2, "item.started", item, kind="message")
    await append(db, entry(one, head, five), entry(two, row(2, "custom")))

    wanted = [
        {"reader": 0, "run_id": one["run_id"], "after": 5},
        {"reader": 1, "run_id": two["run_id"], "after": 0},
        {"reader": 2, "run_id": one["run_id"], "after": 7},
        {"reader": 3, "run_id": str(uuid4()), "after": 0},
    ]
    rows = await db.rows("poll_runs", wanted)

    seen = [(found["reader"], found["seq"], found["count"]) for found in rows]
    assert seen[:3] == [(0, 3, 5), (1, 1, 1), (1, 2, 1)], (
        "a row that holds the next event comes whole"
    )
    assert [(found["reader"], found["type"]) for found in rows[3:]] == [(3, "run.gone")]


async def test_a_long_log_is_read_in_pages(db: Database, user: Json) -> None:
    leased = await begin(db, user)
    await append(db, entry(leased, *(row(seq, "custom", n=seq) for seq in range(2, 2303))))

    seen: list[int] = []
    pages = []
    while True:
        after = seen[-1] if seen else 0
        wanted = [{"reader": 0, "run_id": leased["run_id"], "after": after}]
        page = [found["seq"] for found in await db.rows("poll_runs", wanted)]
        if not page:
            break
        pages.append(len(page))
        seen += page

    assert seen == list(range(1, 2303))
    assert pages == [1000, 1000, 302]
