"""Users and holders as the functions act for them: schema `agent`, called by the login `agent_api`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import asyncpg

from shared.core.json import Json
from shared.core.settings import Settings
from shared.database.pool import Database
from tests.fixtures.database import TestDatabase

LEASE: Json = {"seconds": 30, "max_unfinished_attempts": 3, "history": 1000}


@asynccontextmanager
async def connected(url: str, **more: Any) -> AsyncIterator[Database]:
    """`shared.database` on this url."""
    settings = Settings(**{"supabase_database_url": url, "database_seconds": 5.0, **more})
    database = Database(settings)
    await database.connect()
    try:
        yield database
    finally:
        await database.close()


@asynccontextmanager
async def superuser(
    database: TestDatabase,
) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """A connection that may look at and kill others', create logins, and become any role."""
    connection = await asyncpg.connect(database.superuser_url)
    try:
        yield connection
    finally:
        await connection.close()


async def admit(database: TestDatabase, **more: Any) -> Json:
    """The claims of a user who exists."""
    sub = str(uuid4())
    async with database.owner() as owner:
        await owner.execute("insert into auth.users (id) values ($1)", sub)
    return {"sub": sub, "role": "authenticated", "session_id": str(uuid4()), **more}


def run_request(
    text: str = "hi", *, run: str = "run-1", thread: str = "thread-1", **more: Any
) -> Json:
    """A request as `start_run` reads it, with one new message."""
    content = {"role": "user", "content": text}
    message = {"key": f"message-of-{run}", "kind": "message", "data": content}
    request: Json = {
        "agent": "assistant",
        "client_run_id": run,
        "client_thread_id": thread,
        "client_parent_run_id": None,
        "hash": f"{thread} {run} {text}",
        "messages": [message],
        "state": {},
        "tools": [],
        "context": [],
        "resume": [],
        "rewind_to": None,
        "busy": "reject",
        "request_id": "request-1",
    }
    return {**request, **more}


def row(seq: int, type_: str, item_id: str | None = None, **data: Any) -> Json:
    return {"seq": seq, "count": 1, "type": type_, "item_id": item_id, "data": data}


def message(seq: int, item_id: str, text: str) -> list[Json]:
    """Three rows: a message from its start to its end."""
    deltas = {"channel": "text", "deltas": [text]}
    whole = {"role": "assistant", "content": text}
    return [
        row(seq, "item.started", item_id, kind="message"),
        row(seq + 1, "item.delta", item_id, **deltas),
        row(seq + 2, "item.completed", item_id, kind="message", item=whole),
    ]


def entry(leased: Json, *rows: Json, closes: bool = False, **more: Any) -> Json:
    """One run's part of a batch; the last row may be its ending."""
    last = rows[-1]["type"] if rows else ""
    ending = last if last.startswith("run.") else None
    mine = {"run_id": leased["run_id"], "token": leased["token"], "seconds": 30}
    return {**mine, "rows": list(rows), "closes": closes, "ending": ending, **more}


async def append(db: Database, *entries: Json) -> list[str]:
    """Append a batch; the verdicts, in its order."""
    verdicts = await db.rows("append_events", list(entries))
    by_run = {str(verdict["run_id"]): str(verdict["verdict"]) for verdict in verdicts}
    return [by_run[entry["run_id"]] for entry in entries]


async def complete(db: Database, leased: Json, text: str = "hello") -> None:
    """Append an answer and the ending, as the holder does."""
    rows = [*message(2, str(uuid4()), text), row(5, "run.completed")]
    assert await append(db, entry(leased, *rows)) == ["ok"]


async def begin(db: Database, claims: Json, request: Json | None = None, **lease: Any) -> Json:
    answer: Json = await db.call(
        "start_run", claims, request or run_request(), {**LEASE, **lease}, {}
    )
    return answer


async def expire(database: TestDatabase, leased: Json, seconds: float = -1.0) -> None:
    """Let the lease expire in so many seconds (negative: ago), as if its holder had died."""
    async with database.owner() as owner:
        await owner.execute(
            "update agent.lease set until = now() + make_interval(secs => $2) where run_id = $1",
            leased["run_id"],
            seconds,
        )


async def log_of(database: TestDatabase, run_id: str) -> list[tuple[int, int, str]]:
    """The whole log: (attempt, seq, type)."""
    async with database.owner() as owner:
        rows = await owner.fetch(
            "select attempt, seq, type from agent.run_event where run_id = $1 order by seq", run_id
        )
    return [(found["attempt"], found["seq"], found["type"]) for found in rows]
