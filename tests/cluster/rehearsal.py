"""The bundle as processes of this machine, for the actions of the suite without Kubernetes and Knative."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable, Set
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import asyncpg
import httpx

from local import CannotStart
from local.children import Child, Children
from local.probe import free_port
from shared.core.json import Json
from shared.core.settings import Settings
from tests.cluster.bundle import ClusterBundle, started_runs
from tests.cluster.choice import Choice
from tests.cluster.waits import until
from tests.fixtures.environment import variables

_FUNCTIONS = ("assistant", "threads", "runner")
#: Longer than the runs of a rehearsal.
_GRACE_SECONDS = 20.0


@dataclass
class Rehearsal(ClusterBundle):
    """Each function is one process, which stands for its pod and for the container in it."""

    children: dict[str, Child] = field(default_factory=dict)
    bases: dict[str, str] = field(default_factory=dict)
    owner_url: str = ""
    _killed: Set[str] = frozenset()

    def sql(self, statement: str) -> str:
        return asyncio.run(_first_value(self.owner_url, statement))

    def running(self, function: str) -> dict[str, Json]:
        return {function: {"ready": True}} if _runs(self.children[function]) else {}

    def delete(self, pods: Iterable[str]) -> None:
        for each in pods:
            os.kill(self.children[each].pid, signal.SIGTERM)

    def are_gone(self, pods: Iterable[str]) -> bool:
        return not any(_runs(self.children[each]) for each in pods)

    def kill(self, function: str) -> Set[str]:
        container = str(self.children[function].pid)
        self.children[function].kill_and_restart()
        self._killed |= {container}
        return {container}

    def killed(self, function: str) -> Set[str]:
        return self._killed

    def started_runs(self, function: str) -> dict[str, Set[str]]:
        return {function: started_runs(self.children[function].log.read_text())}

    def inside(self, script: str) -> str:
        here = script.replace("http://runner.agent-backend.svc.cluster.local", self.bases["runner"])
        return subprocess.run([sys.executable, "-c", here], capture_output=True, text=True).stdout

    def pods(self, function: str) -> list[Json]:
        # Nothing scales them to zero.
        return []

    def address(self, function: str) -> tuple[str, dict[str, str]]:
        return self.bases[function], {}


@asynccontextmanager
async def rehearsing(
    folder: Path, settings: Settings, model_url: str, owner_url: str
) -> AsyncIterator[Rehearsal]:
    """Start the functions, with the suite's model at this address, until the block ends."""
    made = Rehearsal(folder, Choice("none", model_url=model_url), owner_url=owner_url)
    made.bases |= {name: f"http://127.0.0.1:{free_port()}" for name in _FUNCTIONS}
    with Children(folder / "functions") as children:
        for name, base in made.bases.items():
            environ = _environ(settings, made, port=int(base.rpartition(":")[2]))
            command = [sys.executable, "-m", "functions", name]
            made.children[name] = children.start(name, command, env=environ)
        for base in made.bases.values():
            await until(20, "a function is ready", is_there, f"{base}/readiness")
        yield made


def _environ(settings: Settings, made: Rehearsal, port: int) -> dict[str, str]:
    ours = replace(
        settings,
        host="127.0.0.1",
        port=port,
        openai_base_url=made.choice.model_url,
        runner_url=made.bases["runner"] + "/",
        lease_seconds=1,
        lease_renew_seconds=0.2,
        stop_grace_seconds=_GRACE_SECONDS,
        log_level="INFO",
    )
    return {**os.environ, **variables(ours)}


def is_there(address: str) -> bool:
    """Whether a server answers there without an error."""
    try:
        return httpx.get(address).is_success
    except httpx.TransportError:
        return False


def _runs(child: Child) -> bool:
    try:
        child.check()
    except CannotStart:
        return False
    return True


async def _first_value(url: str, statement: str) -> str:
    connection = await asyncpg.connect(url)
    try:
        found = await connection.fetchval(statement)
    finally:
        await connection.close()
    return "" if found is None else str(found)
