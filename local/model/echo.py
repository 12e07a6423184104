"""`python -m local.model.echo PORT`: the echo on loopback, as a server of OpenAI's Chat Completions.

Without a language model, it shows all that an agent does with one: words that stream, tool calls, approvals, structured
answers. It makes nothing up but missing arguments.
"""

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator, Iterator
from itertools import count
from time import time
from typing import Any, Final

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from local.model.reply import Call, reply
from local.model.sample import Json

#: Between two words: slow enough to stop an answer, or to kill its process, in the middle.
_SECONDS: Final = 0.05
_calls = count(1)


def app() -> Starlette:
    """The server's app: `/v1/chat/completions`, streamed only, and `/health`."""
    return Starlette(
        routes=[
            Route("/v1/chat/completions", _complete, methods=["POST"]),
            Route("/health", lambda _: JSONResponse({"status": "ok"})),
        ]
    )


async def _complete(request: Request) -> Response:
    body = await request.json()
    return StreamingResponse(_stream(body), media_type="text/event-stream")


async def _stream(body: Json) -> AsyncIterator[str]:
    answer = reply(body)
    written = 0
    for delta in _deltas(answer):
        yield _chunk(body, [{"index": 0, "delta": delta, "finish_reason": None}])
        written += 1
        await asyncio.sleep(_SECONDS)
    reason = "tool_calls" if isinstance(answer, Call) else "stop"
    yield _chunk(body, [{"index": 0, "delta": {}, "finish_reason": reason}])
    # A word is a token of the echo.
    read = len(json.dumps(body["messages"]).split())
    usage = {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
    yield _chunk(body, [], usage=usage)
    yield "data: [DONE]\n\n"


def _deltas(answer: str | Call) -> Iterator[Json]:
    if isinstance(answer, Call):
        function = {"name": answer.tool, "arguments": json.dumps(answer.arguments)}
        call = {"index": 0, "id": f"echo-{next(_calls)}", "type": "function", "function": function}
        yield {"role": "assistant", "tool_calls": [call]}
        return
    for word in re.findall(r"\s*\S+", answer):
        yield {"role": "assistant", "content": word}


def _chunk(body: Json, choices: list[Json], **more: Any) -> str:
    chunk = {
        "id": "echo",
        "object": "chat.completion.chunk",
        "created": int(time()),
        "model": body.get("model", "echo"),
        "choices": choices,
        **more,
    }
    return f"data: {json.dumps(chunk)}\n\n"


if __name__ == "__main__":
    uvicorn.run(app(), host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
