"""How the HTTP client for streams reaches a server: by any of its addresses, and only with a trusted certificate."""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from shared.models.http import Connections
from shared.models.http import connections as model_connections
from tests.fixtures.scripted_server import TEXT, WHOLE, Server, post

Address = tuple[Any, ...]


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
