"""HTTP as queue-proxy and activator forward it: streamed, under time-outs, aborted where it cannot be ended."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from tests.platform.rules import Rules

LOOPBACK = "127.0.0.1"
#: Limit of a header or a request line in bytes: Go's limit for all headers.
_HEADER_BYTES = 1 << 20
#: Headers between the two ends of one connection, and headers that a proxy sets itself.
_OWN_HEADERS = frozenset(
    ("connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "expect")
)

Serve = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Refused(Exception):
    """The proxy itself answers with this error."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Exchange:
    """A request, and its response as far as the time-outs allow."""

    def __init__(self, request: web.BaseRequest, rules: Rules) -> None:
        self.request = request
        self._rules = rules
        self._response: web.StreamResponse | None = None
        self._arrived = asyncio.get_running_loop().time()

    async def run(self, carry: Callable[["Exchange"], Awaitable[None]]) -> web.StreamResponse:
        """Forward the request; if that fails, answer with the proxy's error."""
        try:
            async with asyncio.timeout(None) as self._timeout:
                self._wait_for(self._arrived)
                await carry(self)
        except TimeoutError:
            return self._fail(504, "activator request timeout")
        except Refused as refused:
            return self._fail(refused.status, str(refused))
        except (aiohttp.ClientError, OSError) as error:
            # knative.dev/pkg/network/error_handler.go
            return self._fail(502, str(error))
        assert self._response is not None
        return self._response

    async def begin(self, status: int, reason: str | None, headers: CIMultiDict[str]) -> None:
        self._response = web.StreamResponse(status=status, reason=reason, headers=headers)
        await self._response.prepare(self.request)
        self._wait_for(asyncio.get_running_loop().time())

    async def write(self, data: bytes) -> None:
        assert self._response is not None
        await self._response.write(data)
        self._wait_for(asyncio.get_running_loop().time())

    async def end(self) -> None:
        assert self._response is not None
        await self._response.write_eof()

    def _wait_for(self, last_byte: float) -> None:
        """Wait until the next time-out."""
        ends = [self._arrived + self._rules.total, last_byte + self._rules.idle]
        if self._response is None:
            ends.append(self._arrived + self._rules.response_start)
        self._timeout.reschedule(min(ends))

    def _fail(self, status: int, text: str) -> web.StreamResponse:
        """Send an error if no byte of the response was sent; else abort, which no client takes for the end."""
        if self._response is None:
            return web.Response(status=status, text=text)
        if self.request.transport:
            self.request.transport.abort()
        return self._response


async def forward(exchange: Exchange, session: aiohttp.ClientSession, port: int) -> None:
    """Forward a request to a process, and stream its response back.

    If the task is cancelled, because the client has gone or a time-out is over, the process loses its connection.
    """
    request = exchange.request
    async with session.request(
        request.method,
        URL(f"http://{LOOPBACK}:{port}{request.raw_path}", encoded=True),
        headers=passed_on(request.headers),
        data=request.content if request.can_read_body else None,
        allow_redirects=False,
    ) as response:
        await exchange.begin(response.status, response.reason, passed_on(response.headers))
        async for data in response.content.iter_any():
            await exchange.write(data)
        await exchange.end()


def passed_on(headers: CIMultiDictProxy[str]) -> CIMultiDict[str]:
    """The headers that do not belong to one connection."""
    return CIMultiDict((k, v) for k, v in headers.items() if k.lower() not in _OWN_HEADERS)


def connecting() -> aiohttp.ClientSession:
    """A client that adds nothing, limits nothing and keeps no connection."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, force_close=True),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
        auto_decompress=False,
        skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
        cookie_jar=aiohttp.DummyCookieJar(),
        max_line_size=_HEADER_BYTES,
        max_field_size=_HEADER_BYTES,
    )


@asynccontextmanager
async def listening(serve: Serve, port: int = 0) -> AsyncIterator[int]:
    """A server on this port, or on one of its own. If a client goes, what serves it is cancelled."""
    server = web.Server(
        serve,
        handler_cancellation=True,
        access_log=None,
        auto_decompress=False,
        max_line_size=_HEADER_BYTES,
        max_field_size=_HEADER_BYTES,
    )
    runner = web.ServerRunner(server, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, LOOPBACK, port, backlog=1024).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
