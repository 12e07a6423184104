"""Ports and readiness on loopback."""

import http.client
import random
import socket
from collections.abc import Callable
from contextlib import closing, suppress
from itertools import cycle
from time import monotonic, sleep

from local import CannotStart
from local.children import Child

_LOOPBACK = "127.0.0.1"
_RELEASE_SECONDS = 1.0
_PATIENCE_SECONDS = 2.0
#: Below the ephemeral ports of Linux (from 32768) and macOS (from 49152): any outgoing connection may take one of those
#: before the server that is to listen there has started.
_PORTS = range(20_000, 32_000)
_candidates = cycle(random.sample(_PORTS, len(_PORTS)))


def free_port() -> int:
    """A free loopback port for a server that starts soon. No port is returned twice while others are free.

    Raises:
        CannotStart: no port is free.
    """
    for _ in _PORTS:
        if _is_free(port := next(_candidates)):
            return port
    raise CannotStart(f"No port from {_PORTS.start} to {_PORTS.stop - 1} is free.")


def require_free(port: int, remedy: str) -> None:
    """Check that a port is free.

    Raises:
        CannotStart: it is in use; the message ends with the remedy.
    """
    # The processes of a killed stack need a moment to end.
    deadline = monotonic() + _RELEASE_SECONDS
    while not _is_free(port):
        if monotonic() > deadline:
            raise CannotStart(f"Port {port} is in use: {remedy}")
        sleep(0.05)


def wait_until_responding(
    child: Child,
    port: int,
    path: str,
    *,
    seconds: float,
    expect: range = range(200, 300),
    say_late: Callable[[], object] = lambda: None,
) -> None:
    """Wait until the child responds to a GET with an expected status; after two seconds, call `say_late` once.

    Raises:
        CannotStart: it ended, or did not respond so in time.
    """
    deadline, patience = monotonic() + seconds, monotonic() + _PATIENCE_SECONDS
    while (status := answer(port, path)) not in expect:
        child.check()
        if monotonic() > patience:
            say_late()
            patience = deadline
        if monotonic() > deadline:
            outcome = f"responds {status}" if status else "does not respond"
            raise CannotStart(
                f"{child.name} {outcome} after {seconds:.0f} s; {child.log} ends with:\n{child.last_lines()}"
            )
        sleep(0.02)


def answer(port: int, path: str, *, method: str = "GET") -> int:
    """The status of a request, 0 if there is no response."""
    connection = http.client.HTTPConnection(_LOOPBACK, port, timeout=5)
    with closing(connection), suppress(OSError, http.client.HTTPException):
        connection.request(method, path)
        return connection.getresponse().status
    return 0


def _is_free(port: int) -> bool:
    with suppress(OSError):
        socket.create_connection((_LOOPBACK, port), 0.5).close()
        return False
    with socket.socket() as probe, suppress(OSError):
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((_LOOPBACK, port))
        return True
    return False
