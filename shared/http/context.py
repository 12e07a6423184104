"""The middleware of every function: ids for log lines, a limit for bodies, one log line per request."""

import re
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from time import perf_counter
from typing import Any
from uuid import uuid4

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.core import BodyTooLarge, Span, bound, logger, serving

_REQUEST_ID = re.compile(r"[\w.-]{1,64}\Z", re.ASCII)
_QUIET = frozenset(("/health", "/readiness"))


class Context:
    """Gives a request its id, binds ids to its log lines, and refuses a body over the limit while it is read.

    A crash before the response starts is answered with `crash_response`. (With a handler of Exception, the server would
    close the connection, which the gateway keeps for its next request.)
    """

    def __init__(self, app: ASGIApp, crash_response: Callable[[Scope], ASGIApp]) -> None:
        self._app = app
        self._crash_response = crash_response

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        scope["request_id"] = request_id = _request_id(headers)
        status, started = 0, perf_counter()

        async def send_and_note_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        with _request_span(scope, headers) as span, bound(request_id=request_id):
            try:
                await self._app(
                    scope,
                    _limit_body(receive, scope["app"].process.settings.max_body_bytes),
                    send_and_note_status,
                )
            except Exception:
                logger.exception("request.crashed")
                if status:
                    # Half a response must not look complete.
                    raise
                await self._crash_response(scope)(scope, receive, send_and_note_status)
            finally:
                if scope["path"] not in _QUIET:
                    _log(scope, status, perf_counter() - started)
                span.record_response(scope["method"], _route(scope), status)


def _log(scope: Scope, status: int, seconds: float) -> None:
    facts: dict[str, Any] = {"method": scope["method"], "route": _route(scope), "status": status}
    logger.info("request.ended", extra={**facts, "ms": round(seconds * 1000, 1)})


def _request_id(headers: dict[bytes, bytes]) -> str:
    header = headers.get(b"x-request-id", b"").decode("latin-1")
    return header if _REQUEST_ID.match(header) else str(uuid4())


def _request_span(scope: Scope, headers: dict[bytes, bytes]) -> AbstractContextManager[Span]:
    is_quiet = scope["path"] in _QUIET
    return nullcontext(Span()) if is_quiet else serving(scope["method"], headers)


def _route(scope: Scope) -> str | None:
    return getattr(scope.get("route"), "path", None)


def _limit_body(receive: Receive, max_bytes: int) -> Receive:
    bytes_left = max_bytes

    async def receive_within_limit() -> Message:
        nonlocal bytes_left
        message = await receive()
        bytes_left -= len(message.get("body", b""))
        if bytes_left < 0:
            # Not a Problem: while FastAPI reads a body, it turns exceptions it does not know into a 400.
            raise HTTPException(413, BodyTooLarge().detail)
        return message

    return receive_within_limit
