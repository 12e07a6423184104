"""Serves the page at `/` of the stack's port, and its local API: tokens, health, and killing processes."""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic, time
from typing import Final

import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from local import CannotStart
from local.accounts import DEFAULT_USER, SUPABASE_URL, SignIn, sign_in
from local.children import Child, Children
from local.database import live_runs
from local.environment import ROOT
from local.keys import Keys
from local.live_runs import LiveRuns
from local.model import STAND_INS
from local.probe import answer, free_port

#: The users of the page, with their roles.
USERS: Final = {DEFAULT_USER: "", "bob": "", "admin": "admin"}
_HEADERS: Final = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-cache",
}
_START_SECONDS = 10.0


@dataclass(frozen=True)
class Page:
    """The local API of the page."""

    keys: Keys
    owner_url: str
    children: Children
    #: The functions and their ports.
    ports: dict[str, int]
    #: The agents, of which the page shows the first one at first.
    agents: Sequence[str] = ()
    #: The test users' tokens name this project as their issuer.
    project_url: str = SUPABASE_URL
    _live_runs: dict[str, LiveRuns] = field(default_factory=dict)

    def token(self, request: Request) -> Response:
        """Sign in a test user."""
        user = request.path_params["user"]
        if user not in USERS:
            return _refusal(404, "There is no such user.")
        login = SignIn(user, USERS[user])
        try:
            sign_in(login, self.owner_url)
        except CannotStart as error:
            return _refusal(503, str(error))
        token = login.token(self.keys.user, self.project_url)
        return JSONResponse({"user": user, "token": token, "expiresAt": time() + login.seconds})

    def model(self, _: Request) -> Response:
        """Which stand-in answers on this machine instead of a model, if one does."""
        names = {child.name for child in self.children.all}
        return JSONResponse({"standIn": next(iter(names & STAND_INS), "")})

    def list_agents(self, _: Request) -> Response:
        """The names of the agents that the user can choose from."""
        return JSONResponse({"agents": list(self.agents)})

    def functions(self, _: Request) -> Response:
        """Each function's process, health and live runs, and the number of open runs by status."""
        descriptions = [self._describe(child) for child in self._functions()]
        return JSONResponse({"functions": descriptions, "runs": live_runs(self.owner_url)})

    def kill(self, request: Request) -> Response:
        """Kill the process of a function; a new one replaces it."""
        for child in self._functions():
            if child.name == request.path_params["name"]:
                pid = child.pid
                child.kill_and_restart()
                return JSONResponse({"killed": pid, "started": child.pid})
        return _refusal(404, "There is no such function.")

    def _functions(self) -> list[Child]:
        return [child for child in self.children.all if child.name in self.ports]

    def _describe(self, child: Child) -> dict[str, object]:
        port = self.ports[child.name]
        runs = self._live_runs.setdefault(child.name, LiveRuns(child.log))
        is_alive = answer(port, "/health") == 200
        return {
            "name": child.name,
            "pid": child.pid,
            "starts": child.starts,
            "seconds": round(child.age_ms / 1000, 1),
            "isAlive": is_alive,
            "isReady": answer(port, "/readiness") == 200,
            # The log of a dead process is out of date.
            "liveRuns": runs.count() if is_alive else 0,
        }


class Guard:
    """Accepts only the Hosts of the stack's own port, and requests to the local API only from its own page."""

    def __init__(self, app: ASGIApp, *, own_port: int, public_port: int) -> None:
        self._app = app
        self._own_host = f"127.0.0.1:{own_port}"
        self._names = {f"{host}:{public_port}" for host in ("127.0.0.1", "localhost")}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        may_pass = self._may_pass(Headers(scope=scope), scope)
        app = self._app if may_pass else _refusal(403, "Only this page may send this request.")

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        await app(scope, receive, send_with_headers)

    def _may_pass(self, headers: Headers, scope: Scope) -> bool:
        # A foreign page can resolve its own name to this machine (DNS rebinding), so the name must match, too.
        name = headers.get("x-forwarded-host", "")
        if headers.get("host") != self._own_host or name not in self._names:
            return False
        if not scope["path"].startswith("/local/"):
            return True
        # No other page can send this header, and no other has this origin.
        origin = headers.get("origin")
        is_ours = origin == f"http://{name}" or (origin is None and scope["method"] == "GET")
        return is_ours and headers.get("x-playground") == "1"


def application(page: Page, *, own_port: int, public_port: int) -> ASGIApp:
    routes = [
        Route("/local/token/{user}", page.token, methods=["POST"]),
        Route("/local/model", page.model, methods=["GET"]),
        Route("/local/agents", page.list_agents, methods=["GET"]),
        Route("/local/functions", page.functions, methods=["GET"]),
        Route("/local/functions/{name}/kill", page.kill, methods=["POST"]),
        Mount("/client", StaticFiles(directory=ROOT / "clients" / "js")),
        Mount("/", StaticFiles(directory=ROOT / "local" / "page", html=True)),
    ]
    return Guard(Starlette(routes=routes), own_port=own_port, public_port=public_port)


@contextmanager
def serve(page: Page, public_port: int) -> Iterator[str]:
    """Serve the page from a thread, for front.ts; yields its URL.

    Raises:
        CannotStart: the server cannot listen.
    """
    port = free_port()
    app = application(page, own_port=port, public_port=public_port)
    config = uvicorn.Config(
        app, host="127.0.0.1", port=port, log_config=None, ws="none", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), name="page", daemon=True)
    thread.start()
    try:
        _wait_for(server, thread)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(_START_SECONDS)


def _wait_for(server: uvicorn.Server, thread: threading.Thread) -> None:
    deadline = monotonic() + _START_SECONDS
    while not server.started:
        thread.join(0.01)
        if not thread.is_alive() or monotonic() > deadline:
            raise CannotStart("The page cannot be served; another program took its port.")


def _refusal(status: int, reason: str) -> Response:
    return PlainTextResponse(f"{reason}\n", status)
