"""The same function as a Deployment that is always on, scaled by CPU."""

import json
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.simulate import DAY, Request
from bench.simulate.outcome import Outcome
from bench.simulate.pods import Clock, Pods

#: `--horizontal-pod-autoscaler-sync-period`, and metrics-server's `--metric-resolution`.
SYNC_SECONDS: Final = 15.0
_CAPACITY: Final = Path(__file__).parents[1] / "capacity.json"


@dataclass(frozen=True)
class Hpa:
    """A HorizontalPodAutoscaler: the defaults of https://kubernetes.io/docs/concepts/workloads/autoscaling/.

    CPU is a share of what a pod requests, as in the manifests here: 0.25 of a core.
    """

    min_replicas: int = 2
    max_replicas: int = 10
    utilization: float = 0.8
    requested_cores: float = 0.25
    tolerance: float = 0.1
    stabilization: float = 300
    #: In one sync, up to so many more pods, or twice as many pods, whichever is more.
    most_new: int = 4
    #: `terminationGracePeriodSeconds`.
    grace: float = 30


def cores_per_stream() -> float:
    """What one open stream with twenty tokens a second costs, as measured: `bench/capacity.json` at the target."""
    agent = json.loads(_CAPACITY.read_text())["agent"]
    [at_target] = [step for step in agent["measured"] if step["load"] == agent["target"]]
    return float(at_target["cpu_percent"]) / 100 / int(at_target["load"])


class Deployment:
    """A Deployment's day. A pod has no limit of requests, so none waits while there is a pod."""

    def __init__(self, hpa: Hpa) -> None:
        self.clock = Clock()
        self.pods = Pods(self.clock, room=math.inf, quiet=0.0, timeout=hpa.grace)
        self.pods.on_end = self._count
        self._hpa = hpa
        self._cores = cores_per_stream()
        self._area = self._changed_at = 0.0
        self._open = 0
        self._recent: deque[tuple[float, int]] = deque()

    def run(self, requests: Sequence[Request], until: float = DAY) -> Outcome:
        """Serve the requests, and stop at `until`, in seconds, or when all were served."""
        self.pods.scale(0.0, self._hpa.min_replicas)
        self.pods.expect(requests, self._arrived)
        self.clock.at(SYNC_SECONDS, lambda now: self._sync(now, until))
        self.clock.run()
        return self.pods.outcome

    def _arrived(self, now: float, request: Request) -> None:
        self.pods.arrive(now, request)
        self._count(now)

    def _count(self, now: float) -> None:
        self._area += self._open * (now - self._changed_at)
        self._open, self._changed_at = self.pods.open, now

    def _sync(self, now: float, until: float) -> None:
        if now >= until and self.pods.is_over:
            self.pods.scale(now, 0)
            return
        self._count(now)
        self.pods.scale(now, self._desired(now, self._area / SYNC_SECONDS * self._cores))
        self._area = 0.0
        self.clock.at(now + SYNC_SECONDS, lambda at: self._sync(at, until))

    def _desired(self, now: float, cores: float) -> int:
        """The ratio of used and wanted CPU; no less than in the last five minutes."""
        hpa, current = self._hpa, len(self.pods.replicas)
        ratio = cores / (current * hpa.requested_cores) / hpa.utilization
        wanted = current if abs(ratio - 1) <= hpa.tolerance else math.ceil(current * ratio)
        wanted = min(max(wanted, hpa.min_replicas), hpa.max_replicas)
        self._recent.append((now, wanted))
        while self._recent[0][0] < now - hpa.stabilization:
            self._recent.popleft()
        stable = max(wanted for _, wanted in self._recent)
        return min(max(wanted, min(stable, current)), max(2 * current, current + hpa.most_new))
