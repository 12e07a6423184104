"""A DBOS workflow of one step behind a route of FastAPI: the step's text is stored, and streamed meanwhile.

The pieces reach the client through memory. DBOS's own streams write each piece to Postgres, and clients poll them.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

from dbos import DBOS, DBOSConfig, SetWorkflowID
from fastapi import FastAPI
from fastapi.responses import StreamingResponse

from bench.apps.naive import ChatRequest, client

_config: DBOSConfig = {
    "name": "bench",
    "system_database_url": os.environ["BENCH_DATABASE_URL"],
    "log_level": "WARNING",
}
DBOS(config=_config)
#: The listener of each workflow in this process.
_listening: dict[str, asyncio.Queue[str | None]] = {}


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    DBOS.launch()
    yield
    DBOS.destroy()


app = FastAPI(lifespan=lifespan)


@app.get("/health")
async def health() -> dict[str, str]:
    """The process is alive."""
    return {"status": "ok"}


@app.post("/chat")
async def chat(body: ChatRequest) -> StreamingResponse:
    """Stream the answer, and store it."""
    return StreamingResponse(frames(body.message), media_type="text/event-stream")


async def frames(message: str) -> AsyncIterator[str]:
    """The answer's text, piece by piece; the workflow has ended before the last frame."""
    workflow_id = str(uuid4())
    pieces = _listening[workflow_id] = asyncio.Queue()
    try:
        with SetWorkflowID(workflow_id):
            workflow = await DBOS.start_workflow_async(answer, message)
        while (text := await pieces.get()) is not None:
            yield f"data: {json.dumps({'delta': text})}\n\n"
        await workflow.get_result()
        yield "data: [DONE]\n\n"
    finally:
        del _listening[workflow_id]


@DBOS.workflow()
async def answer(message: str) -> str:
    return await complete(message)


@DBOS.step()
async def complete(message: str) -> str:
    """Call the model; the listener gets each piece."""
    listener = _listening.get(DBOS.workflow_id or "")
    pieces = []
    stream = await client.chat.completions.create(
        model="bench", messages=[{"role": "user", "content": message}], stream=True
    )
    async for part in stream:
        if part.choices and (text := part.choices[0].delta.content):
            pieces.append(text)
            if listener:
                listener.put_nowait(text)
    if listener:
        listener.put_nowait(None)
    return "".join(pieces)
