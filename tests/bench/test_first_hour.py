"""What the script of the first hour counts."""

import os
import socket
import threading
from pathlib import Path

from bench.downloads import counted_downloads
from bench.first_hour import disk_bytes


def connect(address: str, target: str) -> tuple[socket.socket, bytes]:
    """A connection through the proxy, and the first line of the proxy's response."""
    host, _, port = address.removeprefix("http://").partition(":")
    connection = socket.create_connection((host, int(port)))
    connection.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += connection.recv(1)
    return connection, head.partition(b"\r\n")[0]


def test_the_proxy_counts_what_servers_send_and_passes_all_on() -> None:
    sent = os.urandom(300_000)
    with socket.create_server(("127.0.0.1", 0)) as server, counted_downloads() as downloads:

        def serve() -> None:
            peer, _ = server.accept()
            with peer:
                assert peer.recv(5) == b"hello"
                peer.sendall(sent)

        threading.Thread(target=serve, daemon=True).start()
        connection, status = connect(downloads.address, f"127.0.0.1:{server.getsockname()[1]}")
        assert status == b"HTTP/1.1 200 OK"
        connection.sendall(b"hello")
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
        assert received == sent
        assert downloads.received == len(sent)


def test_a_server_that_cannot_be_reached_is_a_bad_gateway() -> None:
    with counted_downloads() as downloads:
        assert connect(downloads.address, "127.0.0.1:1")[1] == b"HTTP/1.1 502 Bad Gateway"


def test_a_file_with_two_names_occupies_the_disk_once(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/one").write_bytes(b"x" * 100_000)
    once = disk_bytes(tmp_path)
    (tmp_path / "two").hardlink_to(tmp_path / "folder/one")
    assert disk_bytes(tmp_path) == once >= 100_000
