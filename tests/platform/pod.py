"""One pod: a process, and the queue-proxy before it."""

import asyncio
import json
import os
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from itertools import count
from pathlib import Path
from time import monotonic
from typing import Literal

import aiohttp
from aiohttp import web

from local.environment import ROOT
from tests.platform.proxy import LOOPBACK, Exchange, Refused, forward, listening
from tests.platform.rules import Rules

#: Between two readiness probes: `aggressiveProbe` in Serving's pkg/queue/readiness/probe.go.
#: The start of a process takes its real time, so nothing here is scaled.
_PROBE_SECONDS = 0.025

#: Below the ports of outgoing connections (32768 and above, unless configured otherwise): a process takes its port
#: only after its imports, and a proxy opens many connections in that time.
_PORTS = count(20_000 + os.getpid() % 10_000)

State = Literal["starting", "ready", "terminating", "gone"]


class Pod:
    """A process, from its creation to its end. Moments are those of `time.monotonic`."""

    def __init__(self, name: str, rules: Rules, log: Path, changed: Callable[[], None]) -> None:
        self.name = name
        self.log = log
        self.port = _free_port()
        self.queue_port = 0  # its queue-proxy's, where a request that a router sent late arrives
        self.created_at = monotonic()
        self.ready_at: float | None = None
        self.deleted_at: float | None = None
        self.terminated_at: float | None = None  # SIGTERM
        self.gone_at: float | None = None
        self.open = 0  # requests in it, with those that wait in its queue
        self.is_frozen = False
        self.is_killed = False
        self._rules = rules
        self._changed = changed
        self._slots = asyncio.Semaphore(rules.concurrency) if rules.concurrency else nullcontext()
        self._last_request_at = 0.0
        self._process: asyncio.subprocess.Process | None = None
        self._gone = asyncio.Event()
        self._duties: list[asyncio.Future[None]] = []

    @property
    def state(self) -> State:
        if self.gone_at is not None:
            return "gone"
        if self.deleted_at is not None:
            return "terminating"
        return "starting" if self.ready_at is None else "ready"

    @property
    def has_room(self) -> bool:
        return not self._rules.concurrency or self.open < self._rules.concurrency

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def returncode(self) -> int | None:
        return self._process.returncode if self._process else None

    async def live(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        session: aiohttp.ClientSession,
    ) -> None:
        """Run the process until it ends, for any reason."""
        self._session = session
        async with listening(self._serve) as self.queue_port:
            process = self._process = await self._start(command, environment)
            if self.is_killed:
                process.kill()
            self._duties.append(asyncio.ensure_future(self._become_ready()))
            await process.wait()
            self.gone_at = monotonic()
            for duty in self._duties:
                duty.cancel()
            self._gone.set()
            self._changed()

    async def _start(
        self, command: Sequence[str], environment: Mapping[str, str]
    ) -> asyncio.subprocess.Process:
        with self.log.open("wb") as output:
            return await asyncio.create_subprocess_exec(
                *command,
                env={**os.environ, **environment, "PORT": str(self.port), "HOST": LOOPBACK},
                cwd=ROOT,
                stdout=output,
                stderr=asyncio.subprocess.STDOUT,
            )

    async def _become_ready(self) -> None:
        """Probe until the first 200, and never again: only SIGTERM changes the answer, after which a function
        answers 503, and a terminating pod gets no request from a router anyway."""
        url = f"http://{LOOPBACK}:{self.port}/readiness"
        while self.ready_at is None:
            try:
                async with self._session.get(url) as response:
                    if response.status == 200:
                        self.ready_at = monotonic()
                        self._changed()
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(_PROBE_SECONDS)

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        return await Exchange(request, self._rules).run(self.carry)

    async def carry(self, exchange: Exchange) -> None:
        """Act as queue-proxy for one request.

        Raises:
            Refused: too many wait.
        """
        self._last_request_at = monotonic()
        limit = self._rules.concurrency
        if limit and self.open >= limit + self._rules.queue:
            # pkg/queue/breaker.go, `ErrRequestQueueFull`
            raise Refused(503, "pending request queue full")
        self.open += 1
        try:
            async with self._slots:
                await forward(exchange, self._session, self.port)
        finally:
            self.open -= 1
            self._changed()

    def delete(self, *, force: bool = False) -> None:
        """Start its deletion, as `kubectl delete pod` does. It gets no more requests; open ones continue."""
        if self.state == "gone":
            return
        if force:
            self.kill()
        if self.deleted_at is None:
            self.deleted_at = monotonic()
            self._duties.append(asyncio.ensure_future(self._terminate()))
            self._changed()

    async def _terminate(self) -> None:
        try:
            async with asyncio.timeout(self._rules.grace):
                await self._drained()
                self.terminated_at = monotonic()
                self.send(signal.SIGTERM)
                await self.gone()
        except TimeoutError:
            self.kill()

    async def _drained(self) -> None:
        """The container's preStop hook: wait until no new request came for so long; open requests do not count."""
        assert self.deleted_at is not None
        while True:
            since = max(self.deleted_at, self._last_request_at)
            if (left := since + self._rules.quiet - monotonic()) <= 0:
                return
            await asyncio.sleep(left)

    async def gone(self) -> None:
        """Wait for the end of the process."""
        await self._gone.wait()

    def kill(self) -> None:
        """Crash it, or end a forced deletion: no SIGTERM comes before."""
        self.is_killed = True
        self.send(signal.SIGKILL)

    def freeze(self) -> None:
        """Freeze it: it keeps its connections and does nothing."""
        self.is_frozen = True
        self.send(signal.SIGSTOP)

    def thaw(self) -> None:
        self.is_frozen = False
        self.send(signal.SIGCONT)

    def send(self, number: signal.Signals) -> None:
        if self._process and self._process.returncode is None:
            self._process.send_signal(number)

    def holds(self) -> set[tuple[str, int]]:
        """The runs that it started to execute: (run id of the client, attempt)."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        started = [json.loads(line) for line in lines if '"run.started"' in line]
        return {
            (line["client_run_id"], line["attempt"])
            for line in started
            if line["event"] == "run.started"
        }


def _free_port() -> int:
    for port in _PORTS:
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((LOOPBACK, port))
            return port
    raise AssertionError("no port is free")
