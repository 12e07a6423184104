"""The HTTP client for streams, against servers that write scripted bytes."""

import asyncio
import gzip
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.models.http import Connections
from shared.models.http.exchange import ReceivedResponse
from tests.fixtures.scripted_server import CHUNKED, TEXT, WHOLE, post, read, serving


async def test_a_response_in_chunks_arrives_whole() -> None:
    async with serving([WHOLE]) as (server, connections):
        response = await connections.post("/chat", {"x-a": "b"}, b"{1}")
        assert (response.status, response.headers["x-kind"]) == (200, "a")
        assert await read(response) == TEXT + b"!!"
        head, _, body = server.requests[0].partition(b"\r\n\r\n")
        assert head.split(b"\r\n")[0] == b"POST /v1/chat HTTP/1.1"
        assert b"\r\nx-a: b" in head
        assert body == b"{1}"


async def test_a_base_address_keeps_its_query_behind_the_path() -> None:
    async with serving([WHOLE], path="/v1/?api-version=7") as (server, connections):
        await post(connections)
        assert server.requests[0].startswith(b"POST /v1/chat?api-version=7 HTTP/1.1\r\n")


class _Transport(asyncio.Transport):
    paused = 0

    def pause_reading(self) -> None:
        self.paused += 1

    def resume_reading(self) -> None:
        self.paused -= 1


@given(st.lists(st.integers(0, len(WHOLE)), max_size=10))
def test_the_split_into_reads_does_not_matter(cuts: list[int]) -> None:
    async def receive() -> bytes:
        response = ReceivedResponse(_Transport(), close=lambda: None)
        places = [0, *sorted(cuts), len(WHOLE)]
        for start, end in pairwise(places):
            response.feed(WHOLE[start:end])
        return await read(response)

    assert asyncio.run(receive()) == TEXT + b"!!"


async def test_a_response_with_a_length_leaves_its_connection_for_the_next_request() -> None:
    reply = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
    async with serving([reply], [WHOLE], [reply]) as (server, connections):
        assert [await post(connections) for _ in range(3)] == [b"ok", TEXT + b"!!", b"ok"]
        assert server.connections == 1


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
    ],
)
async def test_a_server_that_will_close_gets_a_new_connection(reply: bytes) -> None:
    async with serving([reply], [reply]) as (server, connections):
        assert [await post(connections) for _ in range(2)] == [b"ok", b"ok"]
        assert server.connections == 2


async def test_a_response_that_was_not_read_to_its_end_closes_its_connection() -> None:
    async with serving([CHUNKED + b"2\r\nok\r\n"], [WHOLE]) as (server, connections):
        response = await connections.post("/chat", {}, b"")
        assert await response.read() == b"ok"
        response.close()
        assert await post(connections) == TEXT + b"!!"
        assert server.connections == 2


async def test_a_connection_that_the_server_closed_is_replaced() -> None:
    reply = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
    async with serving([reply], [reply], closes=True) as (server, connections):
        assert await post(connections) == b"ok"
        # Sent before the end of the connection is noticed, or after it.
        assert await post(connections) == b"ok"
        assert server.connections == 2


async def test_a_connection_is_not_reused_after_an_error() -> None:
    """A server may answer before it has read the body, and never read it."""
    refused = asyncio.Event()

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 No\r\ncontent-length: 2\r\n\r\nno")
        await refused.wait()
        writer.close()

    listening = await asyncio.start_server(refuse, "127.0.0.1", 0)
    connections = Connections(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}")
    try:
        assert [await post(connections, bytes(1 << 25)) for _ in range(2)] == [b"no", b"no"]
    finally:
        refused.set()
        connections.close()
        listening.close()


async def test_a_response_without_a_length_ends_with_its_connection() -> None:
    async with serving([b"HTTP/1.1 200 OK\r\n\r\nall ", b"of it"], closes=True) as (_, connections):
        assert await post(connections) == b"all of it"


@pytest.mark.parametrize(
    "script",
    [
        [],
        [b"HTTP/1.1 200"],
        [CHUNKED],
        [CHUNKED + b"2\r\no"],
        [b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok"],
        [b"SSH-2.0-OpenSSH_9\r\n"],
        [CHUNKED + b"zz\r\nok\r\n"],
        [b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\n" + gzip.compress(bytes(1 << 25))],
        [b"HTTP/1.1 200 OK\r\ncontent-encoding: br\r\ncontent-length: 2\r\n\r\nok"],
    ],
)
async def test_a_response_that_breaks_off_is_never_complete(script: list[bytes]) -> None:
    async with serving(script, closes=True) as (_, connections):
        with pytest.raises(ConnectionError):
            await post(connections)


@pytest.mark.parametrize(
    "script",
    [
        b"HTTP/1.1 200 OK\r\n" + b"x-a: b\r\n" * 40_000,
        b"HTTP/1.1 103 Early Hints\r\n\r\n" * 12_000,
        CHUNKED + b"2\r\nok\r\n0\r\n" + b"x-a: b\r\n" * 80_000,
    ],
    ids=["head", "informational", "trailers"],
)
async def test_headers_without_an_end_are_not_collected(script: bytes) -> None:
    async with serving([script], closes=True) as (_, connections):
        with pytest.raises(ConnectionError, match="do not end"):
            await post(connections)


async def test_a_server_that_switches_protocols_is_an_error_of_the_request_alone() -> None:
    unhandled: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unhandled.append(context))
    switch = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n"
    async with serving([switch]) as (_, connections):
        with pytest.raises(ConnectionError):
            await post(connections)
    assert not unhandled


async def test_what_came_before_the_end_of_the_connection_is_read_first() -> None:
    async with serving([CHUNKED + b"2\r\nok\r\n"], closes=True) as (_, connections):
        response = await connections.post("/chat", {}, b"")
        assert await response.read() == b"ok"
        with pytest.raises(OSError, match="broke off"):
            await response.read()
        response.close()


async def test_informational_heads_are_skipped() -> None:
    async with serving([b"HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\n", WHOLE]) as (_, connections):
        response = await connections.post("/chat", {}, b"")
        assert "link" not in response.headers
        assert await read(response) == TEXT + b"!!"


async def test_a_compressed_response_is_decompressed() -> None:
    data = gzip.compress(TEXT * 1000)
    head = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(data)
    async with serving([head + data[:20], data[20:]]) as (_, connections):
        assert await post(connections) == TEXT * 1000


async def test_a_sender_waits_for_a_slow_reader() -> None:
    transport = _Transport()
    response = ReceivedResponse(transport, close=lambda: None)
    size = (1 << 20) + 1
    response.feed(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (size + 1) + b"a" * size)
    assert transport.paused
    assert len(await response.read()) == size
    assert not transport.paused


async def test_nobody_listens() -> None:
    async with serving() as (_, connections):
        pass
    with pytest.raises(ConnectionError):
        await connections.post("/chat", {}, b"")


async def test_bytes_without_a_request_are_no_response() -> None:
    reply = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
    async with serving([reply, reply], [WHOLE]) as (server, connections):
        assert await post(connections) == b"ok"
        await asyncio.sleep(0.05)
        assert await post(connections) == TEXT + b"!!"
        assert server.connections == 2
