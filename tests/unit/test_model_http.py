"""The HTTP client for streams, against servers that write scripted bytes."""

import asyncio
import gzip
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from shared.models import server as model_server
from shared.models.http import Connections, Response
from shared.models.http import connections as model_connections
from shared.models.http.exchange import ReceivedResponse
from shared.models.providers import Provider
from shared.models.server import ModelServer, Rejected

Address = tuple[Any, ...]
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
TEXT = "Grüße, 🌍".encode()
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Kind: a\r\n\r\n"
WHOLE = CHUNKED + b"%x\r\n%b\r\n2\r\n!!\r\n0\r\n\r\n" % (len(TEXT), TEXT)


class Server:
    """Answers each request with the next script: the bytes of each write, after which it closes or not."""

    def __init__(self, scripts: Sequence[Sequence[bytes]], *, closes: bool) -> None:
        self._scripts = list(scripts)
        self._closes = closes
        self.requests: list[bytes] = []
        self.connections = 0
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
                self.requests.append(head + await reader.readexactly(length))
                for part in self._scripts.pop(0):
                    writer.write(part)
                    await writer.drain()
                    await asyncio.sleep(0)
                if self._closes:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        writer.close()


@asynccontextmanager
async def serving(
    *scripts: Sequence[bytes], closes: bool = False, path: str = "/v1"
) -> AsyncIterator[tuple[Server, Connections]]:
    server = Server(scripts, closes=closes)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    connections = Connections(f"http://127.0.0.1:{port}{path}")
    try:
        yield server, connections
    finally:
        connections.close()
        listening.close()


async def read(response: Response) -> bytes:
    parts = []
    try:
        while part := await response.read():
            parts.append(part)
    finally:
        response.close()
    return b"".join(parts)


async def post(connections: Connections, body: bytes = b"{}") -> bytes:
    return await read(await connections.post("/chat", {"accept": "text/event-stream"}, body))


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


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_an_address_that_loses_packets_does_not_hide_the_next_one(
    loop_factory: Callable[[], asyncio.AbstractEventLoop], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def exchange(deaf: socket.socket) -> bytes:
        port = deaf.getsockname()[1]
        addresses = [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port))
            for host in ("127.0.0.1", "127.0.0.2")
        ]
        server = Server([[WHOLE]], closes=False)
        listening = await asyncio.start_server(server.serve, "127.0.0.2", port)
        monkeypatch.setattr(model_connections, "_addresses", resolved(addresses))
        connections = Connections(f"http://two.test:{port}")
        try:
            return await post(connections)
        finally:
            connections.close()
            listening.close()

    with deaf_socket() as deaf, asyncio.Runner(loop_factory=loop_factory) as runner:
        assert runner.run(exchange(deaf)) == TEXT + b"!!"


def resolved(addresses: list[Address]) -> Callable[[str, int], Awaitable[list[Address]]]:
    async def resolve(host: str, port: int) -> list[Address]:
        return addresses

    return resolve


@contextmanager
def deaf_socket() -> Iterator[socket.socket]:
    """A listening socket that drops all packets of new connections, because its queue is full."""
    with ExitStack() as sockets:
        deaf = sockets.enter_context(socket.socket())
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        for _ in range(3):
            waiting = sockets.enter_context(socket.socket())
            waiting.setblocking(False)
            with suppress(BlockingIOError):
                waiting.connect(deaf.getsockname())
        yield deaf


async def test_bytes_without_a_request_are_no_response() -> None:
    reply = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
    async with serving([reply, reply], [WHOLE]) as (server, connections):
        assert await post(connections) == b"ok"
        await asyncio.sleep(0.05)
        assert await post(connections) == TEXT + b"!!"
        assert server.connections == 2


def refusal(status: int, *headers: bytes) -> bytes:
    lines = [b"HTTP/1.1 %d No" % status, b"content-length: 0", *headers]
    return b"\r\n".join([*lines, b"", b""])


SOON = b"retry-after-ms: 1"


@pytest.mark.parametrize("status", [408, 409, 429, 500, 503])
async def test_a_request_is_repeated_after_a_failure_that_passes(status: int) -> None:
    async with serving([refusal(status, SOON)], [WHOLE]) as (server, connections):
        model = ModelServer(provider(connections))
        assert await read(await model.post("/chat", {"a": 1})) == TEXT + b"!!"
        first, second = server.requests
        assert first == second
        assert b"\r\nauthorization: Bearer key\r\n" in first
        assert first.endswith(b'{"a":1}')
        model.close()


@pytest.mark.parametrize("status", [307, 400, 401, 403, 404, 422])
async def test_a_request_is_not_repeated_after_a_refusal_that_stays(status: int) -> None:
    async with serving([refusal(status, SOON)]) as (server, connections):
        with pytest.raises(Rejected) as rejected:
            await ModelServer(provider(connections)).post("/chat", {})
        assert (rejected.value.status, rejected.value.may_pass) == (status, False)
        assert len(server.requests) == 1


async def test_a_request_is_sent_three_times_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_server, "_PAUSES", (0.0, 0.0))
    async with serving([b""], [refusal(502)], [refusal(503)], closes=True) as (server, connections):
        with pytest.raises(Rejected, match="503"):
            await ModelServer(provider(connections)).post("/chat", {})
        assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 0.0),
        ({"retry-after": "2"}, 2.0),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "61"}, 0.0),
        ({"retry-after": "-1"}, 0.0),
        ({"retry-after": "nan"}, 0.0),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, 0.0),
    ],
)
def test_a_servers_pause_is_kept_if_it_is_short(headers: dict[str, str], seconds: float) -> None:
    assert Rejected(429, headers).retry_after == seconds


def provider(connections: Connections) -> Provider:
    return Provider(connections._url.geturl(), "key", "chat_completions")


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A self-signed certificate for a host, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    cert, private = folder / f"{name}.pem", folder / f"{name}.key"
    cert.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    private.write_bytes(key.private_bytes(pem, form, serialization.NoEncryption()))
    return cert, private


@pytest.mark.parametrize(
    ("host", "is_trusted", "is_accepted"),
    [("localhost", True, True), ("localhost", False, False), ("example.com", True, False)],
)
@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_only_a_trusted_certificate_of_the_host_is_accepted(
    loop_factory: Callable[[], asyncio.AbstractEventLoop],
    host: str,
    is_trusted: bool,
    is_accepted: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cert, key = certificate(tmp_path, host)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(cert, key)
    if is_trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(cert))

    async def exchange() -> list[bytes]:
        server = Server([[WHOLE], [WHOLE]], closes=False)
        listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=tls)
        port = listening.sockets[0].getsockname()[1]
        connections = Connections(f"https://localhost:{port}")
        try:
            answers = [await post(connections) for _ in range(2)]
            assert server.connections == 1
            return answers
        finally:
            connections.close()
            listening.close()

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        if is_accepted:
            assert runner.run(exchange()) == [TEXT + b"!!"] * 2
        else:
            with pytest.raises(ssl.SSLCertVerificationError):
                runner.run(exchange())
