"""One revision of a function: its activator, its autoscaler's decisions, and its pods."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import monotonic

import aiohttp
from aiohttp import web

from tests.platform.autoscaler import Autoscaler, Load
from tests.platform.pod import Pod
from tests.platform.proxy import Exchange, Refused
from tests.platform.rules import Rules


class Revision:
    """Has pods while there are requests; a request waits here until one can take it."""

    def __init__(
        self,
        name: str,
        rules: Rules,
        folder: Path,
        spawn: tuple[Sequence[str], Mapping[str, str], aiohttp.ClientSession],
    ) -> None:
        self.every_pod: list[Pod] = []
        self.load = Load(rules.window)
        self._name = name
        self._rules = rules
        self._folder = folder
        self._spawn = spawn
        self._autoscaler = Autoscaler(rules, self.load)
        self._lives: list[asyncio.Future[None]] = []
        self._changed = asyncio.Event()
        self._waiting = 0
        self._turn = 0

    def pods(self) -> list[Pod]:
        """The pods that have a process, or soon will."""
        return [pod for pod in self.every_pod if pod.state != "gone"]

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        """Act as the activator for one request."""
        with self.load.counted():
            if not self._replicas():
                # It informs the autoscaler at once: the `poke` in pkg/autoscaler/scaling/multiscaler.go.
                self._scale()
            return await Exchange(request, self._rules).run(self._carry)

    async def _carry(self, exchange: Exchange) -> None:
        await (await self._place()).carry(exchange)

    async def _place(self) -> Pod:
        """The pod for a request, as soon as there is one.

        Raises:
            Refused: too many wait.
        """
        if pod := self._choose():
            return pod
        if self._rules.concurrency and self._waiting >= self._rules.queue:
            raise Refused(503, "pending request queue full")
        self._waiting += 1
        try:
            while (pod := self._choose()) is None:
                await self._changed.wait()
            return pod
        finally:
            self._waiting -= 1

    def _choose(self) -> Pod | None:
        """The next ready one with room: `newRoundRobinPolicy` in Serving's pkg/activator/net/lb_policy.go.

        Where the activator is not in the path, the ingress takes turns without looking, and the rest waits in the pod.
        """
        ready = [pod for pod in self.every_pod if pod.state == "ready"]
        for place in range(self._turn, self._turn + len(ready)):
            pod = ready[place % len(ready)]
            if pod.has_room or not self._rules.is_always_in_path:
                self._turn = (place + 1) % len(ready)
                return pod
        return None

    def _replicas(self) -> list[Pod]:
        """The pods that a ReplicaSet counts: those that are not being deleted."""
        return [pod for pod in self.every_pod if pod.state in ("starting", "ready")]

    async def autoscale(self) -> None:
        """Decide at each tick until cancelled."""
        tick_at = monotonic()
        while True:
            self._scale()
            while tick_at <= monotonic():
                tick_at += self._rules.tick
            await asyncio.sleep(self._autoscaler.next_at(tick_at) - monotonic())

    def _scale(self) -> None:
        replicas = self._replicas()
        ready = [pod for pod in replicas if pod.state == "ready"]
        more = self._autoscaler.desired(len(replicas), len(ready)) - len(replicas)
        for pod in sorted(replicas, key=_goes_first)[: max(-more, 0)]:
            pod.delete()
        if not self._backs_off():
            for _ in range(more):
                self._start()

    def _backs_off(self) -> bool:
        """Back off from starting a process that cannot start."""
        dead = [pod.gone_at for pod in self.every_pod if _failed_to_start(pod)]
        return monotonic() < max((at or 0 for at in dead), default=0) + self._rules.crash_backoff

    def _start(self) -> None:
        name = f"{self._name}-{len(self.every_pod) + 1}"
        pod = Pod(name, self._rules, self._folder / f"{name}.log", self._tell)
        self.every_pod.append(pod)
        self._lives.append(asyncio.ensure_future(pod.live(*self._spawn)))

    def _tell(self) -> None:
        """Wake all waiting requests, so that they look again."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def close(self) -> None:
        for pod in self.pods():
            pod.kill()
        await asyncio.gather(*self._lives)


def _goes_first(pod: Pod) -> tuple[bool, float]:
    """The order in which a ReplicaSet deletes pods: the unready, then the newest, busy or not.

    `ActivePodsWithRanks` in Kubernetes' pkg/controller/controller_utils.go. There, pods of about one age go at random.
    """
    return pod.state == "ready", -(pod.ready_at or pod.created_at)


def _failed_to_start(pod: Pod) -> bool:
    was_requested = pod.is_killed or pod.deleted_at is not None
    return pod.state == "gone" and pod.ready_at is None and not was_requested
