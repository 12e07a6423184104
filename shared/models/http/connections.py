"""The connections to one server."""

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final
from urllib.parse import SplitResult, urlsplit

from aiohappyeyeballs import AddrInfoType as _Address
from aiohappyeyeballs import start_connection

from shared.core import Once
from shared.models.http.exchange import Connection, ReceivedResponse, Response

#: Servers close connections that were idle for longer; most wait for a minute or more.
_IDLE_SECONDS: Final = 30.0
_MOST_IDLE: Final = 100
_CONNECT_SECONDS: Final = 10.0
#: When the next address of the server is tried beside the one that has not answered (RFC 8305 §5).
_NEXT_ADDRESS_SECONDS: Final = 0.25
_PORTS: Final = {"http": 80, "https": 443}


class Connections:
    """Connections to one server. Idle ones are reused; their number is that of the requests in progress."""

    def __init__(self, base_url: str) -> None:
        """`base_url`: what the paths of requests are appended to."""
        self._url = urlsplit(base_url)
        self._idle: deque[Connection] = deque()
        self._tls: Once[ssl.SSLContext | None] = Once(self._load_tls)

    async def post(self, path: str, headers: Mapping[str, str], body: bytes) -> Response:
        """Send a request, and wait for the head of its response. The caller closes the response.

        Raises:
            OSError: the server cannot be reached, or broke off.
        """
        request = _request(self._url, path, headers, body)
        while connection := self._take_idle():
            try:
                return await self._send(connection, request)
            except OSError:
                # The server closed it when its idle time was over.
                continue
        return await self._send(await self._connect(), request)

    async def warm(self) -> None:
        """Load the certificates for the first connection."""
        await self._tls()

    def close(self) -> None:
        """Close the idle connections."""
        while self._idle:
            self._idle.pop().close()

    async def _send(self, connection: Connection, request: bytes) -> ReceivedResponse:
        try:
            response = connection.send(request, close=partial(self._put_back, connection))
            await response.wait_for_head()
        except BaseException:
            connection.close()
            raise
        return response

    def _take_idle(self) -> Connection | None:
        now = asyncio.get_running_loop().time()
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open and now - connection.idle_since < _IDLE_SECONDS:
                return connection
            connection.close()
        return None

    def _put_back(self, connection: Connection) -> None:
        if connection.release() and len(self._idle) < _MOST_IDLE:
            connection.idle_since = asyncio.get_running_loop().time()
            self._idle.append(connection)
        else:
            connection.close()

    async def _connect(self) -> Connection:
        tls = await self._tls()
        host, port = self._url.hostname or "", self._url.port or _PORTS[self._url.scheme]
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                connected = await _connect_to_any(host, port)
                _, connection = await asyncio.get_running_loop().create_connection(
                    Connection, sock=connected, ssl=tls, server_hostname=host if tls else None
                )
        except TimeoutError:
            # Not to be taken for the time limit of the caller.
            raise ConnectionError("the server accepted no connection in time") from None
        return connection

    async def _load_tls(self) -> ssl.SSLContext | None:
        if self._url.scheme != "https":
            return None
        # It reads the certificates from files.
        return await asyncio.to_thread(ssl.create_default_context)


async def _connect_to_any(host: str, port: int) -> socket.socket:
    """A connection to the first address of the host that answers: where IPv6 leads nowhere, its packets are lost."""
    addresses = await _addresses(host, port)
    return await start_connection(addresses, happy_eyeballs_delay=_NEXT_ADDRESS_SECONDS)


async def _addresses(host: str, port: int) -> Sequence[_Address]:
    return await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)


def _request(url: SplitResult, path: str, headers: Mapping[str, str], body: bytes) -> bytes:
    lines = [
        f"POST {url.path.rstrip('/')}{path}{f'?{url.query}' if url.query else ''} HTTP/1.1",
        f"host: {url.netloc.rpartition('@')[2]}",
        f"content-length: {len(body)}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body
