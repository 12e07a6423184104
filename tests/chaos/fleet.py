"""The processes: several of each function, started again when they die, as a platform does; and the gateway."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from local import gateway
from local.environment import ROOT
from local.keys import Keys
from local.probe import free_port

_POLL = 0.05
_REPLACED = 60.0


@dataclass
class Pod:
    """One process of a function."""

    name: str
    port: int
    process: asyncio.subprocess.Process
    log: Path
    is_paused: bool = False
    is_stopping: bool = False

    @property
    def is_up(self) -> bool:
        return self.process.returncode is None and not self.is_stopping

    async def answers(self) -> bool:
        """Whether it listens."""
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        writer.close()
        return self.is_up

    def send(self, number: signal.Signals) -> None:
        if self.process.returncode is None:
            self.process.send_signal(number)
            self.is_paused = number is signal.SIGSTOP
            self.is_stopping = self.is_stopping or number is signal.SIGTERM

    def holds(self) -> set[tuple[str, int]]:
        """The runs it began to answer: (run id of the client, attempt)."""
        lines = self.log.read_text(errors="replace").splitlines()
        said = [json.loads(line) for line in lines if '"run.started"' in line]
        return {
            (line["run_id"], line["attempt"]) for line in said if line["event"] == "run.started"
        }


class Fleet:
    """All pods that should be there; whoever dies is replaced."""

    def __init__(self, folder: Path, settings: Mapping[str, str]) -> None:
        self.pods: list[Pod] = []
        self.crashes: list[str] = []
        self._folder = folder
        self._settings = settings
        self._numbers = count(1)

    def ports(self, name: str) -> list[int]:
        return [pod.port for pod in self.pods if pod.name == name and pod.is_up]

    async def add(self, name: str, **more: str) -> None:
        """Start one, and go on: who connects waits for it."""
        port, log = free_port(), self._folder / f"{name}-{next(self._numbers)}.log"
        environ = {**os.environ, **self._settings, **more, "PORT": str(port)}
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "functions", name),
                env=environ,
                cwd=ROOT,
                stdout=output,
                stderr=asyncio.subprocess.STDOUT,
            )
        self.pods.append(Pod(name, port, process, log))

    async def supervise(self, **more: str) -> None:
        """Replace the dead until cancelled."""
        while True:
            for pod in [pod for pod in self.pods if pod.process.returncode is not None]:
                self.pods.remove(pod)
                if pod.process.returncode not in (0, -signal.SIGKILL, -signal.SIGTERM):
                    self.crashes.append(f"{pod.log.name}: {pod.process.returncode}")
                await self.add(pod.name, **more)
            await asyncio.sleep(_POLL)

    async def whole(self) -> None:
        """Wait until the dead are replaced and all answer: one thing is broken at a time, or a shared machine with two
        cores has nobody left to recover anything.
        """
        async with asyncio.timeout(_REPLACED):
            while not all([await pod.answers() for pod in self.pods]):  # noqa: ASYNC110  # other processes
                await asyncio.sleep(_POLL)

    async def close(self) -> None:
        for pod in self.pods:
            pod.send(signal.SIGCONT)
            pod.send(signal.SIGKILL)
        await asyncio.gather(*(pod.process.wait() for pod in self.pods))


@asynccontextmanager
async def front(keys: Keys, agents: int, log: Path) -> AsyncIterator[str]:
    """The gateway, with one address for all agents: its own address."""
    port = free_port()
    settings = gateway.settings(keys, {**os.environ}, port, {"agent": agents})
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *map(str, gateway.command()), env=settings, stdout=output, stderr=output
        )
    try:
        yield f"http://127.0.0.1:{port}{gateway.PATH}"
    finally:
        process.kill()
        await process.wait()
