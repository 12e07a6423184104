"""One function as a Knative Service: its pods follow the requests that are open."""

import math
from collections.abc import Sequence
from typing import Final

from bench.simulate import DAY, Request
from bench.simulate.autoscaler import TICK_SECONDS, Decider, Reconciler
from bench.simulate.outcome import Outcome
from bench.simulate.pods import Clock, Pods
from bench.simulate.rules import Rules

#: `reportInterval` in pkg/activator/handler/concurrency_reporter.go, `scrapeTickInterval` in
#: pkg/autoscaler/metrics/collector.go.
REPORT_SECONDS: Final = 1.0

#: From a pod's deletion to SIGTERM without a new request; open ones do not count: `DefaultDrainTimeout` in
#: knative.dev/pkg/network/network.go, `Drain` in its handlers/drain.go. A pod without work exits at once.
QUIET_SECONDS: Final = 30.0


class Reporter:
    """Averages of the open requests: pkg/activator/handler/concurrency_reporter.go.

    The activator reports its first request at once, as one; its next report leaves that one out. It reports nothing
    while it has no request.
    """

    def __init__(self) -> None:
        self.is_active = False
        self._since = self._changed_at = self._area = 0.0
        self._open = self._first = 0

    def change(self, now: float, by: int) -> bool:
        """Count a request that starts or ends. Returns whether it is the first one, which is reported at once."""
        is_first = not self.is_active
        if is_first:
            self.is_active, self._first = True, 1
            self._since = self._changed_at = now
            self._area = 0.0
        self._area += self._open * (now - self._changed_at)
        self._open, self._changed_at = self._open + by, now
        return is_first

    def report(self, now: float) -> float:
        """The average since the last report."""
        area = self._area + self._open * (now - self._changed_at)
        average = area / max(now - self._since, 1e-9)
        self._since = self._changed_at = now
        self._area = 0.0
        self.is_active = average > 0
        first, self._first = self._first, 0
        return max(average - first, 0.0)


class Revision:
    """A function's day. While it has no pod and no request, no time is simulated."""

    def __init__(self, rules: Rules) -> None:
        self.clock = Clock()
        self.pods = Pods(self.clock, room=rules.room, quiet=QUIET_SECONDS, timeout=rules.timeout)
        self.pods.on_end = self._ended
        self._rules = rules
        self._decider = Decider(rules)
        self._reconciler = Reconciler(rules)
        self._reporter = Reporter()
        self._is_awake = False
        self._until = DAY

    def run(self, requests: Sequence[Request], until: float = DAY) -> Outcome:
        """Serve the requests until there is no pod. If there always is one, stop at `until`, in seconds, or when all
        requests were served.
        """
        self._until = until
        self.pods.expect(requests, self._arrived)
        if self._rules.min_scale:
            self._wake(0.0)
            self._reconcile(0.0)
        self.clock.run()
        return self.pods.outcome

    def _arrived(self, now: float, request: Request) -> None:
        self._wake(now)
        if self._reporter.change(now, 1):
            self._decider.record(now, 1.0)
            if not self._decider.latest:
                # `Poke` in pkg/autoscaler/scaling/multiscaler.go: no wait for a tick.
                self._decide(now)
        self.pods.arrive(now, request)

    def _ended(self, now: float) -> None:
        self._reporter.change(now, -1)

    def _wake(self, now: float) -> None:
        if not self._is_awake:
            self._is_awake = True
            self.clock.at(math.floor(now / REPORT_SECONDS + 1) * REPORT_SECONDS, self._beat)

    def _beat(self, now: float) -> None:
        """Report, and decide at every second beat."""
        if self._reporter.is_active or (self._rules.is_scraped and self.pods.ready):
            self._decider.record(now, self._reporter.report(now))
        if now % TICK_SECONDS == 0:
            self._decide(now)
        self._is_awake = not self._is_at_rest(now)
        if self._is_awake:
            self.clock.at(now + REPORT_SECONDS, self._beat)

    def _is_at_rest(self, now: float) -> bool:
        if self._rules.min_scale and self.pods.is_over and now >= self._until:
            self.pods.scale(now, 0)
            return True
        return not (self.pods.replicas or self.pods.open or self._decider.latest)

    def _decide(self, now: float) -> None:
        self._decider.decide(now, self.pods.ready)
        self._reconcile(now)

    def _reconcile(self, now: float) -> None:
        pods, was = self.pods, self._reconciler.state
        replicas = self._reconciler.replicas(now, self._decider, len(pods.replicas), pods.ready)
        pods.scale(now, replicas)
        if was == "active" and self._reconciler.state == "inactive" and replicas:
            # It looks again when the last pod's time is over, without a tick.
            self.clock.at(self._reconciler.zero_at, self._reconcile)
