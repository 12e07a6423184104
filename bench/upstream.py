"""`python -m bench.upstream PORT`: a fake model with OpenAI's streaming Chat Completions API, at almost no CPU cost.

The last user message defines the response: `100x25` is 100 tokens, one every 25 ms; `2000x0` is 2000 tokens as fast as
the socket takes them. Each token contains the time of its write, in microseconds of the monotonic clock, which all
processes of a machine share.
"""

import asyncio
import re
import sys
from collections.abc import Iterator
from time import monotonic_ns
from typing import Final, cast

import orjson
import uvloop

#: The load generator counts these.
MARK: Final = b"zq"
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_TOKEN = (
    b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"bench","choices":[{"index":0,'
    b'"delta":{"role":"assistant","content":"zq%016d "},"finish_reason":null}]}\n\n'
)
_END = (
    b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"bench","choices":[{"index":0,'
    b'"delta":{},"finish_reason":"stop"}]}\n\n'
    b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"bench","choices":[],'
    b'"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}\n\n'
    b"data: [DONE]\n\n"
)
_MODEL_LIST = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 89\r\n\r\n"
    b'{"object":"list","data":[{"id":"bench","object":"model","created":1,"owned_by":"bench"}]}'
)
#: Tokens per write without a pause, as a fast server's kernel would merge them.
_BURST: Final = 20


class Upstream(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self) -> None:
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transport has this interface without the base class.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, separator, body = self._received.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head.lower())
        if not separator or len(body) < int(length[1] if length else 0):
            return
        self._received = b""
        if head.startswith(b"GET"):
            # Some contenders check for their model before they are ready.
            self._transport.write(_MODEL_LIST)
            return
        tokens, pause = read_prompt(body)
        self._transport.write(_HEAD)
        self._write_on(self._paced(tokens) if pause else self._bursts(tokens), pause / 1000)

    def _write_on(self, parts: Iterator[bytes], pause: float) -> None:
        if self._transport.is_closing():
            return
        part = next(parts, None)
        if part is None:
            self._transport.write(_chunk(_END) + b"0\r\n\r\n")
            return
        self._transport.write(_chunk(part))
        loop = asyncio.get_running_loop()
        if pause:
            loop.call_later(pause, self._write_on, parts, pause)
        else:
            loop.call_soon(self._write_on, parts, pause)

    def _paced(self, tokens: int) -> Iterator[bytes]:
        for _ in range(tokens):
            yield _TOKEN % (monotonic_ns() // 1000)

    def _bursts(self, tokens: int) -> Iterator[bytes]:
        for first in range(0, tokens, _BURST):
            yield _TOKEN % (monotonic_ns() // 1000) * min(_BURST, tokens - first)


def read_prompt(body: bytes) -> tuple[int, int]:
    """The tokens of a request, and the milliseconds between two. Frameworks wrap the prompt in different ways."""
    contents = [message.get("content") for message in orjson.loads(body)["messages"]]
    for text in reversed([str(content) for content in contents]):
        if match := re.search(r"(\d+)x(\d+)", text):
            return int(match[1]), int(match[2])
    return 1, 0


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def main(port: int) -> None:
    """Serve until killed."""
    server = await asyncio.get_running_loop().create_server(
        Upstream, "127.0.0.1", port, backlog=4096
    )
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
