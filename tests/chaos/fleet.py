"""The processes: two agents and `runner` on the stand-in for Knative, with windows shorter than a run; the gateway."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from local import gateway
from local.keys import Keys
from local.probe import free_port
from tests.chaos.agents import AGENTS
from tests.platform.pod import Pod
from tests.platform.shipped import shipped
from tests.platform.stand_in import Platform

FUNCTIONS: Final = (*AGENTS, "runner")
#: A second of the platform's clock is so long here: a window of 60 s is one of 3 s, and a run takes longer than that.
_FACTOR: Final = 1 / 20
#: Few requests a pod, so that a few clients bring several.
_TARGET = 2
_POLL = 0.05
_REPLACED = 60.0
#: The log event of a run that is released before its end.
_RELEASED = "run.released"


class Fleet:
    """The existing pods, and the runs in their logs."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform

    async def deploy(self, ports: Mapping[str, int], **environment: str) -> None:
        """Give all functions their addresses; processes start with the first requests. `environment` goes before the
        manifests' settings."""
        for name in FUNCTIONS:
            rules, settings = shipped(name, _FACTOR)
            rules = replace(rules, target=_TARGET)
            await self.platform.deploy(name, rules, {**settings, **environment}, port=ports[name])

    @property
    def pods(self) -> list[Pod]:
        """The pods that take requests."""
        return [
            pod for name in FUNCTIONS for pod in self.platform.pods(name) if pod.state == "ready"
        ]

    async def whole(self) -> None:
        """Wait until starting pods are ready. One thing is broken at a time, or a shared machine with two cores
        would have no process left to recover runs.
        """
        async with asyncio.timeout(_REPLACED):
            while any(  # noqa: ASYNC110  # other processes
                pod.state == "starting" for name in FUNCTIONS for pod in self.platform.pods(name)
            ):
                await asyncio.sleep(_POLL)

    def started(self, *functions: str) -> set[tuple[str, int]]:
        """Every attempt that a process of these functions started, or any process: (run id of the client, attempt)."""
        return {attempt for pod in self._every_pod(*functions) for attempt in pod.holds()}

    def released(self) -> set[tuple[str, int]]:
        """Every attempt that reached its deadline; one that a stop released is none of them."""
        logs = (pod.log for pod in self._every_pod() if pod.log.exists())
        lines = (line for log in logs for line in log.read_text(errors="replace").splitlines())
        released = (json.loads(line) for line in lines if f'"{_RELEASED}"' in line)
        return {
            (line["client_run_id"], line["attempt"])
            for line in released
            if line.get("reason") == "deadline"
        }

    def _every_pod(self, *functions: str) -> Iterator[Pod]:
        for name in functions or FUNCTIONS:
            yield from self.platform.every_pod(name)


def command(name: str) -> Sequence[str]:
    """The command of a function, with the agents of the play."""
    return sys.executable, "-m", "tests.chaos.functions", name


@asynccontextmanager
async def front(keys: Keys, ports: Mapping[str, int], log: Path) -> AsyncIterator[str]:
    """The gateway, with the platform's addresses for the agents: its own address."""
    port = free_port()
    agents = {name: ports[name] for name in AGENTS}
    settings = gateway.settings(keys, {**os.environ}, port, agents)
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *map(str, gateway.command()), env=settings, stdout=output, stderr=output
        )
    try:
        yield f"http://127.0.0.1:{port}{gateway.PATH}"
    finally:
        process.kill()
        await process.wait()
