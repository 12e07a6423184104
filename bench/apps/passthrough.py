"""The floor: an asyncio protocol that passes on the bytes of the model's response without parsing them."""

import asyncio
import os
import re
import sys
from typing import cast

import uvloop

_MODEL = int(os.environ["BENCH_MODEL_PORT"])
_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
_OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class Out(asyncio.Protocol):
    """The connection to the model."""

    def __init__(self, back: asyncio.Transport, request: bytes) -> None:
        self._back = back
        self._request = request

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.Transport, transport).write(self._request)

    def data_received(self, data: bytes) -> None:
        self._back.write(data)


class In(asyncio.Protocol):
    """A client's connection."""

    def __init__(self) -> None:
        self._received = b""
        self._pending: set[asyncio.Future[tuple[asyncio.Transport, Out]]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transport has this interface without the base class.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, separator, body = self._received.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if not separator or len(body) < int(length[1] if length else 0):
            return
        request, self._received = self._received, b""
        if request.startswith(b"GET"):
            self._transport.write(_OK)
            return
        loop = asyncio.get_running_loop()
        connecting = loop.create_connection(
            lambda: Out(self._transport, request), "127.0.0.1", _MODEL
        )
        task = asyncio.ensure_future(connecting)
        self._pending.add(task)
        task.add_done_callback(self._pending.discard)


async def main(port: int) -> None:
    """Serve until killed."""
    server = await asyncio.get_running_loop().create_server(In, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
