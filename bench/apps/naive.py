"""The naive server: FastAPI, the SDK's typed stream, a StreamingResponse. It has no storage and no authentication."""

import json
import os
from collections.abc import AsyncIterator

from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from openai import AsyncOpenAI
from pydantic import BaseModel

app = FastAPI()
client = AsyncOpenAI(
    api_key="bench", base_url=f"http://127.0.0.1:{os.environ['BENCH_MODEL_PORT']}/v1"
)


class ChatRequest(BaseModel):
    message: str


@app.get("/health")
async def health() -> dict[str, str]:
    """The process is alive."""
    return {"status": "ok"}


@app.post("/chat")
async def chat(body: ChatRequest) -> StreamingResponse:
    """Stream the answer."""
    return StreamingResponse(frames(body.message), media_type="text/event-stream")


async def frames(message: str) -> AsyncIterator[str]:
    """The answer's text, piece by piece."""
    stream = await client.chat.completions.create(
        model="bench", messages=[{"role": "user", "content": message}], stream=True
    )
    async for part in stream:
        if part.choices and (text := part.choices[0].delta.content):
            yield f"data: {json.dumps({'delta': text})}\n\n"
    yield "data: [DONE]\n\n"
