"""JSON-RPC over HTTP: one POST for each message, its answer, and what a server sends before it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from itertools import count
from typing import Any, Final
from urllib.parse import SplitResult, urljoin, urlsplit, urlunsplit

import orjson

from shared.core import Json
from shared.mcp.answers import answer_of
from shared.mcp.faults import Refusal, ServerFailed, refusal_of

_MEDIA_TYPES: Final = {
    "content-type": "application/json",
    "accept": "application/json, text/event-stream",
}
_REDIRECTS: Final = frozenset((301, 302, 307, 308))
_MOST_REDIRECTS: Final = 3
_REPLY_SECONDS: Final = 5.0
_DEFAULT_PORTS: Final = (80, 443)
_UNKNOWN_METHOD: Final = {"code": -32601, "message": "Method not found."}


class Transport:
    """One server's address. `http` returns the process's `aiohttp.ClientSession`; `notify` gets its notifications."""

    def __init__(self, url: str, http: Callable[[], Any], notify: Callable[[Json], None]) -> None:
        self._url = url
        self._http = http
        self._notify = notify
        self._ids = count(1)
        self._replies: set[asyncio.Task[None]] = set()

    async def request(
        self, method: str, params: Json, headers: Mapping[str, str]
    ) -> tuple[Json, Mapping[str, str]]:
        """The result of a request, and the headers of its response.

        Raises:
            Refusal: the server did not execute it.
            ServerFailed: the server failed.
        """

        def take(message: Json) -> None:
            if "method" in message and "id" in message:
                self._reply_soon(message, headers)
            else:
                self._notify(message)

        id_ = next(self._ids)
        body = {"jsonrpc": "2.0", "id": id_, "method": method, "params": params}
        async with self._send(body, headers) as response:
            answer = await answer_of(response, id_, take)
            return _result(response.status, answer), response.headers

    async def notify(self, method: str, headers: Mapping[str, str]) -> None:
        """Send a notification.

        Raises:
            ServerFailed: the server failed.
        """
        async with self._send({"jsonrpc": "2.0", "method": method}, headers):
            pass

    def _reply_soon(self, request: Json, headers: Mapping[str, str]) -> None:
        """Answer a request that came on a call's stream: a server may end the call of a client that does not."""
        known = {"result": {}} if request["method"] == "ping" else {"error": _UNKNOWN_METHOD}
        reply = asyncio.ensure_future(
            self._reply({"jsonrpc": "2.0", "id": request["id"], **known}, headers)
        )
        self._replies.add(reply)
        reply.add_done_callback(self._replies.discard)

    async def _reply(self, reply: Json, headers: Mapping[str, str]) -> None:
        # If the server is away, the call shows it.
        with suppress(ServerFailed, TimeoutError):
            async with asyncio.timeout(_REPLY_SECONDS), self._send(reply, headers):
                pass

    @asynccontextmanager
    async def _send(self, body: Json, headers: Mapping[str, str]) -> AsyncIterator[Any]:
        """The response to a message, after redirects on the same host, which are remembered."""
        data = orjson.dumps(body)
        with _translate_errors():
            for _ in range(_MOST_REDIRECTS + 1):
                async with self._http().post(
                    self._url,
                    data=data,
                    headers={**headers, **_MEDIA_TYPES},
                    allow_redirects=False,
                ) as response:
                    if response.status not in _REDIRECTS:
                        yield response
                        return
                    self._url = moved(self._url, response.headers.get("location", ""))
        raise ServerFailed("The tool's server redirects in a circle.", "redirected")


@contextmanager
def _translate_errors() -> Iterator[None]:
    """Convert errors of the connection into ServerFailed."""
    import aiohttp

    try:
        yield
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
        raise ServerFailed("The tool's server cannot be reached.", "unreachable") from None
    except (aiohttp.ClientError, OSError) as error:
        if isinstance(error, TimeoutError):
            # The caller's time limit.
            raise
        raise broke_off() from None


def broke_off(status: int | None = None) -> ServerFailed:
    """The failure of a server that broke off after it got the request."""
    message = "The tool's server broke off; the call may or may not have had its effect. It was not made again."
    return ServerFailed(message, "broke_off", status=status, may_have_run=True)


def _result(status: int, answer: Json | None) -> Json:
    if answer is not None and status >= 400 and not _is_answer(answer):
        # A problem of a proxy or of the HTTP layer, which says nothing about the call.
        answer = None
    if answer is None and status >= 500:
        # A proxy may have forwarded the request before it answered, so treat it as a broken connection.
        raise broke_off(status)
    if answer is None:
        raise Refusal(status)
    if error := answer.get("error"):
        raise refusal_of(status, error)
    result = answer.get("result")
    if not isinstance(result, dict):
        raise ServerFailed("The server's answer is not one of MCP.", "not_mcp", status=status)
    return result


def _is_answer(answer: Json) -> bool:
    """Whether a body is a JSON-RPC response, and not another object."""
    return isinstance(answer.get("error"), dict) or "result" in answer


def moved(url: str, location: str) -> str:
    """The address that a server redirects to.

    The scheme and the host stay: the headers may hold secrets, and a server behind a proxy that ends TLS redirects to
    http.

    Raises:
        ServerFailed: it is on another host.
    """
    try:
        here, there = urlsplit(url), urlsplit(urljoin(url, location))
        stays = bool(location) and _place(here) == _place(there)
    except ValueError:
        stays = False
    if not stays:
        raise ServerFailed("The tool's server redirects to another host.", "redirected")
    return urlunsplit(there._replace(scheme=here.scheme, netloc=here.netloc))


def _place(url: SplitResult) -> tuple[str | None, int | None]:
    return url.hostname, None if url.port in _DEFAULT_PORTS else url.port
