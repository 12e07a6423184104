"""What a user waits for while nothing runs: the time from exec to the answer of a request that is already there.

The request waits at the port, as a request waits at the activator on a cluster: it connects again every two
milliseconds until the server listens. Without the start of a pod, these ratios are larger than those of a cluster.
"""

import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from time import monotonic, sleep

from bench import NotMeasured
from bench.contenders import (
    AGENT,
    HELLO,
    NAIVE,
    NAIVE_POSTGRES,
    THREADS,
    TOOLS,
    Contender,
)
from bench.load import request
from bench.machine import OTHER_CORE, Process
from bench.rounds import Effort, attempts, progress
from bench.rows import Row, ratio
from bench.site import Site
from bench.upstream import MARK

_RETRY_SECONDS = 0.002
_PATIENCE_SECONDS = 60.0
#: The first byte of a response.
_STATUS = b"HTTP/1.1 200"


@dataclass(frozen=True)
class Wake:
    """A contender that does not run, a request that waits for it, and the bytes that its user waits for."""

    name: str
    contender: Contender
    make: Callable[[Site], bytes]
    awaited: bytes
    variables: Mapping[str, str] = field(default_factory=dict)

    def milliseconds(self, site: Site) -> float:
        """Milliseconds from exec until the awaited bytes are there."""
        waiting = self.make(site)
        with self.contender.starting(site, variables=self.variables) as (process, port):
            read_first(process, port, waiting, self.awaited)
            return (monotonic() - process.started_at) * 1000


def first_token(site: Site, effort: Effort) -> Row:
    """Milliseconds from exec to the first token of an answer, beside bare FastAPI's first byte."""
    with TOOLS.running(site, core=OTHER_CORE) as (_, tools_port, _):
        tools = {"TOOLS_URL": f"http://127.0.0.1:{tools_port}/mcp"}
        wakes = (
            _HELLO,
            _answer(AGENT),
            # It reads the stored list of tools, and lists them again.
            replace(_answer(AGENT), name=f"{AGENT.name} with tools", variables=tools),
            _answer(NAIVE),
            _answer(NAIVE_POSTGRES),
        )
        return _row("exec → first token", wakes, site, effort, 1.5)


def first_page(site: Site, effort: Effort) -> Row:
    """Milliseconds from exec to a user's first page of threads, beside bare FastAPI's first byte."""
    page = Wake(THREADS.name, THREADS, _page, b'"next":')
    return _row("exec → first page", (_HELLO, page), site, effort, 1.25)


def _answer(contender: Contender) -> Wake:
    def make(site: Site) -> bytes:
        return contender.request(site, "1x0")

    return Wake(contender.name, contender, make, MARK)


def _row(name: str, wakes: Sequence[Wake], site: Site, effort: Effort, at_most: float) -> Row:
    measures = {each.name: partial(each.milliseconds, site) for each in wakes}
    progress("  first starts, not counted")
    attempts(measures, 1)
    results = attempts(measures, effort.rounds(5, 11))
    ours = [each.name for each in wakes if each.contender.kind == "ours"]
    goals = [
        ratio(results, each, HELLO.name, at_most=at_most, label=f"hello ({each})") for each in ours
    ]
    return Row(name, "ms", results, goals)


def _health(_: Site) -> bytes:
    return request("GET", HELLO.ready, b"", {})


_HELLO = Wake(HELLO.name, HELLO, _health, _STATUS)


def _page(site: Site) -> bytes:
    return request("GET", "/threads", b"", site.signed("bench", "threads", "GET", "/threads"))


def read_first(process: Process, port: int, waiting: bytes, awaited: bytes) -> None:
    """Send the waiting request to a process that starts, and read its response until the awaited bytes are there."""
    with _connect(process, port) as connection:
        connection.sendall(waiting)
        received = b""
        while awaited not in received:
            data = connection.recv(1 << 16)
            received += data
            if not data:
                raise NotMeasured(f"answered {received[:200]!r}")


def _connect(process: Process, port: int) -> socket.socket:
    """The first connection that the process accepts.

    Raises:
        NotMeasured: it ended, or did not listen in time.
    """
    while monotonic() - process.started_at < _PATIENCE_SECONDS:
        try:
            return socket.create_connection(("127.0.0.1", port), _PATIENCE_SECONDS)
        except ConnectionRefusedError:
            if process.popen.poll() is not None:
                break
            sleep(_RETRY_SECONDS)
    raise NotMeasured(f"did not listen: {process.last()}")
