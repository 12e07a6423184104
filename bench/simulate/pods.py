"""The pods of one function, and the requests that they serve or that wait for one."""

import heapq
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Final

from bench.simulate import START_SECONDS, Request
from bench.simulate.outcome import Outcome

Action = Callable[[float], None]


class Clock:
    """Actions in the order of their times; at the same time, in the order in which they were planned."""

    def __init__(self) -> None:
        self._planned: list[tuple[float, int, Action]] = []
        self._numbers = count()

    def at(self, when: float, action: Action) -> None:
        heapq.heappush(self._planned, (when, next(self._numbers), action))

    def run(self) -> None:
        """Act until nothing is planned."""
        while self._planned:
            when, _, action = heapq.heappop(self._planned)
            action(when)


@dataclass(eq=False)
class Pod:
    """One pod, from its creation on."""

    created_at: float
    is_ready: bool = False
    deleted_at: float | None = None
    open: int = 0
    is_gone: bool = False


class Pods:
    """Starts and deletes pods, and gives each request to one.

    A pod has `room` for so many requests. A deleted one drains for `quiet` seconds, then finishes its requests; it is
    killed `timeout` seconds after its deletion.
    """

    def __init__(self, clock: Clock, *, room: float, quiet: float, timeout: float) -> None:
        self.clock: Final = clock
        self.outcome: Final = Outcome()
        #: Open requests, with those that wait; and requests that have yet to arrive.
        self.open = self.expected = 0
        self.replicas: list[Pod] = []
        #: When the first pod, the second, and so on was ready.
        self.ready_at: list[float] = []
        self.on_end: Action = lambda _: None
        self._room = room
        self._quiet = quiet
        self._timeout = timeout
        self._waiting: deque[tuple[float, bool, Request]] = deque()
        self._turn = 0

    @property
    def ready(self) -> int:
        return sum(pod.is_ready for pod in self.replicas)

    @property
    def most_open(self) -> int:
        return max((pod.open for pod in self.replicas), default=0)

    def scale(self, now: float, replicas: int) -> None:
        """Start or delete pods until there are so many."""
        for _ in range(replicas - len(self.replicas)):
            pod = Pod(now)
            self.replicas.append(pod)
            self.clock.at(now + START_SECONDS, lambda at, pod=pod: self._started(at, pod))  # type: ignore[misc]
        for pod in sorted(self.replicas, key=_goes_first)[: len(self.replicas) - replicas]:
            self._delete(now, pod)

    def expect(self, requests: Sequence[Request], arrive: Callable[[float, Request], None]) -> None:
        """Plan all requests of a day."""
        self.expected = len(requests)
        for request in requests:
            self.clock.at(request.at, lambda at, request=request: arrive(at, request))  # type: ignore[misc]

    @property
    def is_over(self) -> bool:
        """Whether every request was served."""
        return not (self.open or self.expected)

    def arrive(self, now: float, request: Request) -> None:
        """Serve a request, or let it wait until a pod has room."""
        self.open += 1
        self.expected -= 1
        self._waiting.append((now, self.ready == 0, request))
        self._place(now)

    def _place(self, now: float) -> None:
        while self._waiting and (pod := self._with_room()):
            since, is_cold, request = self._waiting.popleft()
            self._serve(now, pod, request)
            self.outcome.waits.append(now - since)
            if is_cold:
                self.outcome.cold_waits.append(now - since)

    def _with_room(self) -> Pod | None:
        """The next ready pod with room, in turn: `newRoundRobinPolicy` in pkg/activator/net/lb_policy.go."""
        ready = [pod for pod in self.replicas if pod.is_ready]
        for place in range(self._turn, self._turn + len(ready)):
            if (pod := ready[place % len(ready)]).open < self._room:
                self._turn = (place + 1) % len(ready)
                return pod
        return None

    def _serve(self, now: float, pod: Pod, request: Request) -> None:
        pod.open += 1
        self.outcome.fullest = max(self.outcome.fullest, pod.open)
        self.clock.at(now + request.seconds, lambda at: self._ended(at, pod))

    def _ended(self, now: float, pod: Pod) -> None:
        self.open -= 1
        pod.open -= 1
        self.on_end(now)
        if pod.deleted_at is None:
            self._place(now)
        else:
            self._leave(now, pod)

    def _started(self, now: float, pod: Pod) -> None:
        if pod.deleted_at is None:
            pod.is_ready = True
            self.ready_at.append(now)
            self._place(now)

    def _delete(self, now: float, pod: Pod) -> None:
        """Begin to terminate: it drains, then finishes its open requests, but is killed at its time-out."""
        pod.deleted_at = now
        self.replicas.remove(pod)
        quiet = self._quiet if pod.is_ready else 0.0
        for wait in (quiet, self._timeout):
            self.clock.at(now + wait, lambda at: self._leave(at, pod))

    def _leave(self, now: float, pod: Pod) -> None:
        age = now - (pod.deleted_at or 0.0)
        is_over = age >= self._timeout or (age >= self._quiet and not pod.open)
        if not pod.is_gone and (is_over or not pod.is_ready):
            pod.is_gone = True
            self.outcome.spans.append((pod.created_at, now))


def _goes_first(pod: Pod) -> tuple[bool, float]:
    """The order in which a ReplicaSet deletes pods: those that are not ready, then the newest, busy or not.

    `ActivePodsWithRanks` in Kubernetes' pkg/controller/controller_utils.go.
    """
    return pod.is_ready, -pod.created_at
