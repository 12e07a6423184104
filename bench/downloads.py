"""Counts what programs download: an HTTP proxy for CONNECT (RFC 9110, section 9.3.6) that passes bytes on unread."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

_CHUNK: Final = 65536


class Downloads(ThreadingHTTPServer):
    """The running proxy: programs with `HTTPS_PROXY=address` download through it."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Tunnel)
        self._lock = threading.Lock()
        #: Bytes received from servers so far, TLS and HTTP headers included.
        self.received = 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def count(self, size: int) -> None:
        with self._lock:
            self.received += size


class _Tunnel(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Downloads

    def do_CONNECT(self) -> None:
        host, _, port = self.path.rpartition(":")
        self.close_connection = True
        try:
            remote = socket.create_connection((host.strip("[]"), int(port)))
        except (OSError, ValueError):
            self.send_error(502)
            return
        self.send_response(200)
        self.end_headers()
        with remote:
            threading.Thread(target=self._upload, args=(remote,), daemon=True).start()
            with suppress(OSError):
                while chunk := remote.recv(_CHUNK):
                    self.server.count(len(chunk))
                    self.connection.sendall(chunk)

    def _upload(self, remote: socket.socket) -> None:
        with suppress(OSError):
            while chunk := self.connection.recv(_CHUNK):
                remote.sendall(chunk)
            # Ends the other direction, too.
            remote.shutdown(socket.SHUT_RDWR)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def counted_downloads() -> Iterator[Downloads]:
    """A proxy on a free port of loopback, in a thread of its own."""
    with Downloads() as downloads:
        threading.Thread(target=downloads.serve_forever, daemon=True).start()
        try:
            yield downloads
        finally:
            downloads.shutdown()
