"""Doubles of the outside world: a model's server. Our own code, Postgres and vendors' libraries are never doubled."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Self

from shared.agents.context import RunContext
from shared.agents.tools import CallRequest, Question, Result, Tool
from shared.core.json import Json
from shared.models.events import ModelEvent
from shared.models.requests import ModelRequest
from tests.fixtures.loopback import listening_on_loopback

#: A piece of an answer: bytes to send, seconds to wait, or an event to wait for.
Piece = bytes | float | asyncio.Event


def chunk(
    delta: Json | None = None, *, finish: str | None = None, usage: Json | None = None
) -> bytes:
    """One event of a Chat Completions stream, as a provider's server sends it."""
    body: Json = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "model": "fake-1",
        "choices": [],
    }
    if delta is not None or finish:
        body["choices"] = [{"index": 0, "delta": delta or {}, "finish_reason": finish}]
    if usage:
        body["usage"] = usage
    return b"data: " + json.dumps(body).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"
USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}


def says(*texts: str) -> list[Piece]:
    """A whole answer, one event per text."""
    pieces: list[Piece] = [chunk({"content": text}) for text in texts]
    return [*pieces, chunk(finish="stop"), chunk(usage=USAGE), DONE]


def refuses(*texts: str) -> list[Piece]:
    """A whole refusal, one event per text."""
    pieces: list[Piece] = [chunk({"refusal": text}) for text in texts]
    return [*pieces, chunk(finish="stop"), chunk(usage=USAGE), DONE]


def calls(*wanted: tuple[str, str, str]) -> list[Piece]:
    """A turn that requests tool calls: (provider id, name, arguments)."""
    pieces: list[Piece] = []
    for nth, (provider_id, name, arguments) in enumerate(wanted):
        head = {"index": nth, "id": provider_id, "type": "function"}
        pieces.append(
            chunk({"tool_calls": [{**head, "function": {"name": name, "arguments": ""}}]})
        )
        middle = len(arguments) // 2
        pieces += [
            chunk({"tool_calls": [{"index": nth, "function": {"arguments": part}}]})
            for part in (arguments[:middle], arguments[middle:])
            if part
        ]
    return [*pieces, chunk(finish="tool_calls"), chunk(usage=USAGE), DONE]


@dataclass
class Reply:
    """What the model's server answers to one request. `cuts`: it drops the connection at the end."""

    pieces: Sequence[Piece] = ()
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    cuts: bool = False


class ModelServer:
    """An OpenAI-compatible server that replays bytes. It is strict: an unscripted request is an error."""

    def __init__(self) -> None:
        self.script: list[Reply] = []
        self.requests: list[Json] = []
        #: The path of each request.
        self.paths: list[str] = []
        self.answer_all: Callable[[Json], Reply] | None = None
        self.unexpected = 0
        self.port = 0
        self.requested = asyncio.Event()
        self.writers: list[asyncio.StreamWriter] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def will(self, *replies: Reply | list[Piece]) -> None:
        """Append to the script."""
        self.script += [r if isinstance(r, Reply) else Reply(r) for r in replies]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = next(
                    (
                        int(v)
                        for k, _, v in map(_header, head.split(b"\r\n")[1:])
                        if k == b"content-length"
                    ),
                    0,
                )
                request = json.loads(await reader.readexactly(length))
                self.requests.append(request)
                self.paths.append(head.split(b" ")[1].decode())
                self.requested.set()
                if not await self._reply(self._next(request), writer):
                    return
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            # The client is gone, or the test is over.
            pass
        finally:
            writer.close()

    def _next(self, request: Json) -> Reply:
        if self.answer_all:
            return self.answer_all(request)
        if self.script:
            return self.script.pop(0)
        self.unexpected += 1
        return Reply(status=500)

    async def _reply(self, reply: Reply, writer: asyncio.StreamWriter) -> bool:
        headers = {
            "content-type": "text/event-stream",
            "transfer-encoding": "chunked",
            **reply.headers,
        }
        lines = [f"HTTP/1.1 {reply.status} -", *(f"{k}: {v}" for k, v in headers.items()), "", ""]
        writer.write("\r\n".join(lines).encode())
        for piece in reply.pieces:
            if isinstance(piece, asyncio.Event):
                await piece.wait()
            elif isinstance(piece, float):
                await asyncio.sleep(piece)
            else:
                writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                await writer.drain()
        if reply.cuts:
            return False
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True


def _header(line: bytes) -> tuple[bytes, bytes, bytes]:
    name, colon, value = line.partition(b":")
    return name.strip().lower(), colon, value.strip()


@asynccontextmanager
async def model_server() -> AsyncIterator[ModelServer]:
    """A running ModelServer. At the end every scripted reply must be used, and no request may have been unscripted."""
    model = ModelServer()
    try:
        async with listening_on_loopback(model.serve) as model.port:
            yield model
    finally:
        for writer in model.writers:
            writer.transport.abort()
        closed = (writer.wait_closed() for writer in model.writers)
        await asyncio.gather(*closed, return_exceptions=True)
    assert not model.script, "scripted replies without a request"
    assert not model.unexpected, "unscripted requests"


class CountingTools:
    """A toolbox that counts its calls, and waits or raises a question where a test scripts that.

    A result is a text, a Result or a Question, or an async function that returns one. The function gets the arguments,
    and the answer for tools that raise questions. `more` has a tool's other properties: its
    approval policy, and whether it is repeatable.
    """

    def __init__(self, results: dict[str, Any], **more: Json) -> None:
        self.calls: list[tuple[str, Json]] = []
        self.answers: list[Json | None] = []
        self.tools = {name: Tool(name=name, **more.get(name, {})) for name in results}
        self._results = results

    async def open(self, run: RunContext) -> Self:
        del run
        return self

    async def call(self, request: CallRequest) -> Result | Question:
        self.calls.append((request.name, request.arguments))
        self.answers.append(request.answer)
        result = self._results[request.name]
        found = await result(request.arguments) if callable(result) else result
        return Result(found) if isinstance(found, str) else found


class ScriptedModel:
    """A model that gives the scripted turns, in order, and keeps the requests. Strict: no turn may be left over."""

    def __init__(self, *turns: Sequence[ModelEvent | Exception]) -> None:
        self.requests: list[ModelRequest] = []
        self._turns = list(turns)

    async def stream(self, request: ModelRequest) -> AsyncGenerator[list[ModelEvent], None]:
        self.requests.append(request)
        for part in self._turns.pop(0):
            if isinstance(part, Exception):
                raise part
            yield [part]

    def assert_done(self) -> None:
        assert not self._turns, "scripted turns without a request"
