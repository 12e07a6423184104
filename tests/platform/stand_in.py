"""A stand-in for Knative around real processes, for a machine without a cluster.

Each function has an address, and no process without requests. `rules` has Knative's rules, with their sources.
"""

import asyncio
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from tests.platform.pod import Pod
from tests.platform.proxy import LOOPBACK, listening
from tests.platform.revision import Revision
from tests.platform.rules import Rules
from tests.platform.session import WithSession

#: Exit codes of a process that was stopped on purpose.
_EXPECTED = (0, -signal.SIGKILL, -signal.SIGTERM)


def function(name: str) -> Sequence[str]:
    """The command of one of the bundle's functions."""
    return sys.executable, "-m", "functions", name


class Platform(WithSession):
    """Runs functions as Knative does while it is entered; kills what is left of them when it is left."""

    def __init__(self, folder: Path, command: Callable[[str], Sequence[str]] = function) -> None:
        super().__init__()
        self._folder = folder
        self._command = command
        self._revisions: dict[str, Revision] = {}
        self._urls: dict[str, str] = {}

    async def deploy(
        self,
        name: str,
        rules: Rules,
        environment: Mapping[str, str] | None = None,
        *,
        port: int = 0,
    ) -> str:
        """Give a function a fixed address; and `min_scale` processes, or none until its first request."""
        assert name not in self._revisions, f"{name} is deployed"
        spawn = self._command(name), environment or {}, self._session
        revision = self._revisions[name] = Revision(name, rules, self._folder, spawn)
        self._stack.push_async_callback(revision.close)
        port = await self._stack.enter_async_context(listening(revision.serve, port))
        self._urls[name] = f"http://{LOOPBACK}:{port}"
        scaling = asyncio.ensure_future(revision.autoscale())
        self._stack.push_async_callback(_end, scaling)
        return self._urls[name]

    def url(self, name: str) -> str:
        return self._urls[name]

    def pods(self, name: str) -> list[Pod]:
        """The pods that have a process, including terminating ones."""
        return self._revisions[name].pods()

    def every_pod(self, name: str) -> list[Pod]:
        """All pods that ever existed, oldest first."""
        return list(self._revisions[name].every_pod)

    def open_requests(self, name: str) -> int:
        """How many the activator counts right now."""
        return self._revisions[name].load.open

    def last_request_ended_at(self, name: str) -> float | None:
        """The moment from which the time to zero counts."""
        return self._revisions[name].load.last_ended_at

    async def delete(self, pod: Pod, *, force: bool = False) -> None:
        """Delete a pod; `pod.gone()` waits for its end. `force`: SIGKILL at once, without SIGTERM."""
        pod.delete(force=force)

    async def at_zero(self, *names: str) -> None:
        """Wait until these functions, or all, have no process left, not even a terminating one."""
        for name in names or self._revisions:
            while pods := self.pods(name):
                await asyncio.gather(*(pod.gone() for pod in pods))

    @property
    def crashes(self) -> list[str]:
        """Pods whose process ended by itself."""
        pods = [pod for revision in self._revisions.values() for pod in revision.every_pod]
        return [
            f"{pod.log.name}: {pod.returncode}"
            for pod in pods
            if pod.state == "gone" and pod.returncode not in _EXPECTED
        ]


async def _end(scaling: asyncio.Future[None]) -> None:
    """Cancel the task; raise the exception that ended it before."""
    scaling.cancel()
    with suppress(asyncio.CancelledError):
        await scaling
