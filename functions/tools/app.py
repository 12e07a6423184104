"""Tools over MCP: Streamable HTTP at /mcp, without sessions, for our own functions and whoever has a token."""

import asyncio
import importlib
import pkgutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import orjson
from fastapi import APIRouter, FastAPI, Request
from starlette.responses import JSONResponse, Response

import functions.tools
from functions.tools import mcp
from functions.tools.calls import Calls
from functions.tools.server import Server
from functions.tools.tool import Caller, Tool, tools_of
from shared.callers import CallerVerifier
from shared.contracts import Json
from shared.problems import Unauthorized
from shared.settings import InvalidSettings
from shared.web import KEEP_ALIVE, create_app, database, event_stream

router = APIRouter()

_CHALLENGE = {"www-authenticate": 'Bearer error="invalid_token"'}


@router.post("/mcp")
async def post(request: Request) -> Response:
    """One JSON-RPC message of MCP. The answer is JSON, or a stream where the tool tells how far it is."""
    if not _is_from_here(request):
        return JSONResponse({"error": "Forbidden host or origin."}, 403)
    try:
        caller = _caller(request)
    except Unauthorized as error:
        return JSONResponse({"error": error.code}, 401, _CHALLENGE)
    try:
        asked = mcp.read(await request.body(), request.headers)
        if asked.id is None:
            return Response(status_code=202)
        return await Exchange(request, asked, caller).respond()
    except mcp.Fault as fault:
        return JSONResponse(fault.body, fault.status)


class _Gone(Exception):
    """The client closed the connection."""


class Exchange:
    """One request and its answer. A client that closes the connection cancels the call."""

    def __init__(self, request: Request, asked: mcp.Request, caller: Caller) -> None:
        self._request = request
        self._asked = asked
        self._caller = caller
        #: Notifications; None once the answer is there.
        self._news: asyncio.Queue[Json | None] = asyncio.Queue()

    async def respond(self) -> Response:
        """A stream if something is told before the answer is there, else the answer alone."""
        server: Server = self._request.app.state.mcp
        work = asyncio.ensure_future(server.handle(self._asked, self._caller, self._news.put))
        work.add_done_callback(lambda _: self._news.put_nowait(None))
        try:
            news = await self._first()
            if news is None or "text/event-stream" not in self._request.headers.get("accept", ""):
                return JSONResponse(await work)
        except BaseException as error:
            work.cancel()
            if isinstance(error, _Gone):
                return Response(status_code=499)
            raise
        return event_stream(self._frames(work, news), self._request)

    async def _first(self) -> Json | None:
        news, left = asyncio.ensure_future(self._news.get()), asyncio.ensure_future(self._left())
        try:
            await asyncio.wait([news, left], return_when=asyncio.FIRST_COMPLETED)
            if not news.done():
                raise _Gone
            return news.result()
        finally:
            news.cancel()
            left.cancel()

    async def _left(self) -> None:
        while (await self._request.receive())["type"] != "http.disconnect":
            pass

    async def _frames(self, work: "asyncio.Task[Json]", news: Json | None) -> AsyncIterator[bytes]:
        seconds = self._request.app.state.settings.keep_alive_seconds
        try:
            while news is not None:
                yield _sse(news)
                while not self._news.qsize() and not await self._is_told(seconds):
                    yield KEEP_ALIVE
                news = self._news.get_nowait()
            yield _sse(await _message(work))
        finally:
            work.cancel()

    async def _is_told(self, seconds: float) -> bool:
        """Whether something was told within so many seconds; it stays in the queue."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                self._news.put_nowait(await self._news.get())
        return bool(self._news.qsize())


async def _message(work: "asyncio.Task[Json]") -> Json:
    try:
        return await work
    except mcp.Fault as fault:
        return fault.body


def _sse(message: Json) -> bytes:
    return b"data: %b\n\n" % orjson.dumps(message)


def _caller(request: Request) -> Caller:
    verified = request.app.state.callers.verify(request.headers.getlist("authorization"))
    run_id = str(verified.run_id) if verified.run_id else None
    return Caller(verified.claims, run_id, request.scope["request_id"])


def _is_from_here(request: Request) -> bool:
    """Whether Host and Origin are those of who may call: a page a browser was lured to is neither (DNS rebinding)."""
    settings = request.app.state.settings
    hosts, origins = _names(settings.mcp_allowed_hosts), _names(settings.mcp_allowed_origins)
    host = urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
    origin = request.headers.get("origin")
    is_host = any(host == name or (name[:1] == "." and host.endswith(name)) for name in hosts)
    return is_host and (origin is None or origin in origins or _is_loopback(origin))


def _is_loopback(origin: str) -> bool:
    with suppress(ValueError):
        return urlsplit(origin).hostname in ("127.0.0.1", "localhost", "::1")
    return False


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


@asynccontextmanager
async def tools(app: FastAPI) -> AsyncIterator[None]:
    """Use the tools of this function's modules: `app.state.mcp`, behind `app.state.callers`."""
    settings = app.state.settings
    try:
        app.state.callers = CallerVerifier(function="tools", keys=settings.internal_public_keys)
    except ValueError as error:
        raise InvalidSettings(str(error)) from None
    app.state.mcp = Server(found_tools(), Calls(app.state.database, settings))
    yield


def found_tools() -> dict[str, Tool]:
    """The tools of all modules beside this one."""
    own = {"app", "mcp", "server", "calls", "tool", "arithmetic"}
    names = [found.name for found in pkgutil.iter_modules(functions.tools.__path__)]
    modules: list[Any] = [
        importlib.import_module(f"functions.tools.{name}") for name in names if name not in own
    ]
    return tools_of(*modules)


app = create_app(
    "tools",
    router,
    uses=(database, tools),
    requires=("supabase_database_url", "internal_public_keys"),
)
