"""Tools over MCP: Streamable HTTP at /mcp, without sessions, for our own functions and other clients with a token."""

import asyncio
import importlib
import pkgutil
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any
from urllib.parse import urlsplit

import orjson
from fastapi import APIRouter, Depends, Request
from starlette.responses import JSONResponse, Response

import functions.tools
from functions.tools import mcp
from functions.tools.caller import Caller
from functions.tools.calls import Calls
from functions.tools.server import Server
from shared.agents import FunctionTool, ToolUser, tools_of
from shared.auth import CallerVerifier
from shared.core import (
    Forbidden,
    Grace,
    InvalidSettings,
    Json,
    Settings,
    Unauthorized,
    Unavailable,
)
from shared.http import (
    KEEP_ALIVE,
    CurrentProcess,
    Process,
    create_app,
    event_stream,
    log_refusal,
    problem,
    services_of,
)

router = APIRouter()


@dataclass(frozen=True, slots=True)
class ToolServices:
    """The function's tools, and the verifier of its callers."""

    callers: CallerVerifier
    server: Server


Services = Annotated[ToolServices, Depends(services_of(ToolServices))]

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_CHALLENGE = {"www-authenticate": 'Bearer error="invalid_token"'}


@router.post("/mcp")
async def post(request: Request, services: Services, process: CurrentProcess) -> Response:
    """One JSON-RPC message of MCP. The response is JSON, or a stream if the tool reports progress."""
    if not _is_allowed(request, process.settings):
        raise Forbidden
    try:
        caller = _caller(request, services.callers)
    except Unauthorized as error:
        log_refusal(error)
        response = problem(request, error.code, error.detail)
        response.headers.update(_CHALLENGE)
        return response
    server = services.server
    try:
        message = mcp.read(await request.body(), request.headers)
        if isinstance(message, mcp.Reply):
            server.take(message, caller)
        elif process.grace.has_started:
            # A stopping process accepts only replies to running calls.
            raise Unavailable(retry_after=1)
        elif message.id is not None:
            exchange = Exchange(request, message.takes_stream, process.settings.keep_alive_seconds)
            return await exchange.respond(server, message, caller)
        return Response(status_code=202)
    except mcp.Fault as fault:
        return JSONResponse(fault.body, fault.status)
    except _ClientDisconnected:
        return Response(status_code=499)


class _ClientDisconnected(Exception):
    """The client closed the connection."""


class Exchange:
    """One request and its response. A client that closes the connection cancels the call."""

    def __init__(self, request: Request, takes_stream: bool, keep_alive_seconds: float) -> None:
        self._request = request
        self._keep_alive_seconds = keep_alive_seconds
        self._takes_stream = takes_stream
        #: Messages before the result; None when the result is there.
        self._messages: asyncio.Queue[Json | None] = asyncio.Queue()

    async def respond(self, server: Server, message: mcp.Request, caller: Caller) -> Response:
        """A stream if the call sends a message before its result, else the result alone.

        Raises:
            mcp.Fault: the result is an error.
            Unavailable: this process stops.
            _ClientDisconnected: the client closed the connection before the response.
        """
        work = server.handle(message, caller, self._notify)
        work.add_done_callback(lambda _: self._messages.put_nowait(None))
        try:
            first = await self._first_message()
        except BaseException:
            work.cancel()
            raise
        if work.cancelled():
            # This process stops; the call may have had its effect.
            raise Unavailable
        if first is None:
            return JSONResponse(await work)
        return event_stream(self._frames(work, first), self._request)

    def _notify(self, message: Json) -> None:
        if self._takes_stream:
            self._messages.put_nowait(message)

    async def _first_message(self) -> Json | None:
        """The first message before the result; None if the result comes first."""
        message = asyncio.ensure_future(self._messages.get())
        disconnect = asyncio.ensure_future(self._wait_for_disconnect())
        try:
            await asyncio.wait([message, disconnect], return_when=asyncio.FIRST_COMPLETED)
            if not message.done():
                raise _ClientDisconnected
            return message.result()
        finally:
            message.cancel()
            disconnect.cancel()

    async def _wait_for_disconnect(self) -> None:
        while (await self._request.receive())["type"] != "http.disconnect":
            pass

    async def _frames(
        self, work: "asyncio.Task[Json]", message: Json | None
    ) -> AsyncGenerator[bytes, None]:
        pending: asyncio.Future[Json | None] | None = None
        try:
            while message is not None:
                yield _sse(message)
                pending = asyncio.ensure_future(self._messages.get())
                while not (await asyncio.wait([pending], timeout=self._keep_alive_seconds))[0]:
                    yield KEEP_ALIVE
                message = pending.result()
            yield _sse(await _message(work))
        finally:
            work.cancel()
            if pending:
                pending.cancel()


async def _message(work: "asyncio.Task[Json]") -> Json:
    try:
        return await work
    except mcp.Fault as fault:
        return fault.body


def _sse(message: Json) -> bytes:
    return b"data: %b\n\n" % orjson.dumps(message)


def _caller(request: Request, callers: CallerVerifier) -> Caller:
    verified = callers.verify(request.headers.getlist("authorization"))
    run_id = str(verified.run_id) if verified.run_id else None
    return Caller(ToolUser(verified.claims), run_id, request.scope["request_id"])


def _is_allowed(request: Request, settings: Settings) -> bool:
    """Whether Host and Origin are allowed. The check keeps web pages from reaching this server by DNS rebinding."""
    hosts, origins = _names(settings.mcp_allowed_hosts), _names(settings.mcp_allowed_origins)
    host = _host(f"//{request.headers.get('host', '')}")
    origin = request.headers.get("origin")
    is_host = any(host == name or (name[:1] == "." and host.endswith(name)) for name in hosts)
    return is_host and (origin is None or origin in origins or _host(origin) in _LOOPBACK)


def _host(address: str) -> str:
    with suppress(ValueError):
        return urlsplit(address).hostname or ""
    return ""


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


@asynccontextmanager
async def tool_services(process: Process) -> AsyncIterator[ToolServices]:
    """The services of this function's routes: the tools of its modules, and the verifier of callers."""
    settings = process.settings
    try:
        callers = CallerVerifier(function="tools", keys=settings.internal_public_keys)
        server = Server(find_tools(), Calls(process.database, settings))
    except ValueError as error:
        raise InvalidSettings(f"{error}.") from None
    process.finish_with(partial(_finish_calls, server, process.grace))
    yield ToolServices(callers, server)


async def _finish_calls(server: Server, grace: Grace) -> None:
    """Wait for calls to end; cancel those that outlast the grace, so that their callers get an error."""
    await grace.wait(lambda: server.is_idle, until=grace.release_at)
    await server.close()


def find_tools() -> dict[str, FunctionTool]:
    """The tools of all modules beside this one."""
    names = [module.name for module in pkgutil.iter_modules(functions.tools.__path__)]
    modules: list[Any] = [
        importlib.import_module(f"functions.tools.{name}") for name in names if name != "app"
    ]
    return tools_of(*modules)


app = create_app(
    "tools",
    router,
    tool_services,
    requires=("supabase_database_url", "internal_public_keys"),
)
