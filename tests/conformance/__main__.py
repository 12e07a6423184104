"""`python -m tests.conformance tools`: the function `tools` with the suite's tools beside its own, on $PORT.

The suite sends no token: a request without one gets a token here, as if a function had sent it.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from functions.tools import mcp
from functions.tools.app import ToolServices, find_tools, router, tool_services
from functions.tools.caller import Caller
from functions.tools.calls import Calls
from functions.tools.elicitation import Notify
from functions.tools.server import Server
from shared.auth.callers import Minter
from shared.core.json import Json
from shared.core.settings import Settings
from shared.http.app import create_app
from shared.http.process import Process
from tests.conformance.everything import TOOLS, notify
from tests.conformance.methods import CAPABILITIES, METHODS
from tests.conformance.samples import USER


class Everything(Server):
    """The server, whose tools may log."""

    def handle(self, request: mcp.Request, caller: Caller, tell: Notify) -> "asyncio.Task[Json]":
        notify.set(tell)
        return super().handle(request, caller, tell)


@asynccontextmanager
async def everything(process: Process) -> AsyncIterator[ToolServices]:
    async with tool_services(process) as ours:
        calls = Calls(process.database, process.settings)
        server = Everything({**find_tools(), **TOOLS}, calls, METHODS, CAPABILITIES)
        yield ToolServices(ours.callers, server)


def signed(app: ASGIApp, settings: Settings) -> ASGIApp:
    """The app, in which all callers without a token are one user."""
    minter = Minter("conformance", settings.internal_signing_key)
    claims = {"sub": USER, "role": "authenticated", "session_id": USER, "is_anonymous": False}

    async def with_token(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not any(n == b"authorization" for n, _ in scope["headers"]):
            token = minter.mint("tools", claims, None)
            scope["headers"] = [*scope["headers"], (b"authorization", f"Bearer {token}".encode())]
        await app(scope, receive, send)

    return with_token


def main() -> None:
    settings = Settings.from_env()
    served = create_app("tools", router, everything, settings=settings)
    uvicorn.run(signed(served, settings), host=settings.host, port=settings.port, log_config=None)


if __name__ == "__main__":
    main()
