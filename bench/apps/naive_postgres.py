"""The naive server with minimal storage: a conversation, its run and two messages, in two statements."""

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import asyncpg
from fastapi import FastAPI
from fastapi.responses import StreamingResponse

from bench.apps.naive import ChatRequest, client

_TABLES = """
create table if not exists conversation (id uuid primary key, created_at timestamptz not null default now());
create table if not exists run (
  id uuid primary key, conversation_id uuid not null references conversation, status text not null
);
create table if not exists message (
  id uuid primary key, run_id uuid not null references run, role text not null, text text not null
);
"""
_BEGIN = """
with c as (insert into conversation (id) values ($1) returning id),
     r as (insert into run (id, conversation_id, status) select $2, id, 'running' from c returning id)
insert into message (id, run_id, role, text) select $3, id, 'user', $4 from r
"""
_END = """
with r as (update run set status = 'done' where id = $1 returning id)
insert into message (id, run_id, role, text) select $2, id, 'assistant', $3 from r
"""


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with asyncpg.create_pool(
        os.environ["BENCH_DATABASE_URL"], min_size=1, max_size=8
    ) as pool:
        await pool.execute(_TABLES)
        app.state.pool = pool
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/health")
async def health() -> dict[str, str]:
    """The process is alive."""
    return {"status": "ok"}


@app.post("/chat")
async def chat(body: ChatRequest) -> StreamingResponse:
    """Stream the answer, and store it."""
    run_id = uuid4()
    await app.state.pool.execute(_BEGIN, uuid4(), run_id, uuid4(), body.message)
    return StreamingResponse(frames(body.message, run_id), media_type="text/event-stream")


async def frames(message: str, run_id: object) -> AsyncIterator[str]:
    """The answer's text, piece by piece; the whole is stored before the last frame."""
    pieces = []
    stream = await client.chat.completions.create(
        model="bench", messages=[{"role": "user", "content": message}], stream=True
    )
    async for part in stream:
        if part.choices and (text := part.choices[0].delta.content):
            pieces.append(text)
            yield f"data: {json.dumps({'delta': text})}\n\n"
    await app.state.pool.execute(_END, run_id, uuid4(), "".join(pieces))
    yield "data: [DONE]\n\n"
