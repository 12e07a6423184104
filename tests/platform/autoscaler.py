"""The number of pods of a revision, from the requests that were open at its activator."""

import math
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from time import monotonic

from tests.platform.rules import Rules


class Load:
    """How many requests were open at which time; one that waits for a pod is open, too.

    Serving's pkg/activator/handler/concurrency_reporter.go.
    """

    def __init__(self, window: float) -> None:
        self.open = 0
        self.last_ended_at: float | None = None
        self._window = window
        self._counts: deque[tuple[float, int]] = deque([(monotonic(), 0)])

    @contextmanager
    def counted(self) -> Iterator[None]:
        self._change(1)
        try:
            yield
        finally:
            self.last_ended_at = self._change(-1)

    def _change(self, by: int) -> float:
        self.open += by
        now = monotonic()
        self._counts.append((now, self.open))
        return now

    def average(self, now: float) -> float:
        """Over the window, which is shorter before the first one is full (pkg/autoscaler/aggregation/bucketing.go)."""
        start = now - self._window
        while len(self._counts) > 1 and self._counts[1][0] <= start:
            self._counts.popleft()
        area = sum(
            count * (until - max(since, start))
            for (since, count), (until, _) in pairwise((*self._counts, (now, 0)))
        )
        return area / min(self._window, max(now - self._counts[0][0], 1e-3))


class Autoscaler:
    """Decides at each tick, as `Scale` in pkg/autoscaler/scaling/autoscaler.go and scaler.go in kpa do."""

    def __init__(self, rules: Rules, load: Load) -> None:
        self._rules = rules
        self._load = load
        self._decisions: deque[tuple[float, int]] = deque()
        self._idle_since: float | None = None

    def desired(self, current: int, ready: int) -> int:
        """How many pods there should be now."""
        now = monotonic()
        # `max-scale-down-rate` is 2: at most half of them go in one tick.
        wanted = self._delayed(max(self._needed(now), ready // 2), now)
        bounded = min(max(wanted, self._rules.min_scale), self._rules.max_scale)
        if bounded:
            self._idle_since = None
            return bounded
        if self._idle_since is None:
            self._idle_since = now
        return 0 if now - self._idle_since >= self._rules.hold else current

    def next_at(self, tick_at: float) -> float:
        """When to decide again: at a tick, or when the last pod's time is over, which has no tick of its own."""
        over_at = (self._idle_since or 0) + self._rules.hold
        return min(tick_at, over_at) if over_at > monotonic() else tick_at

    def _needed(self, now: float) -> int:
        """The window's average; or the requests that are open now, the only form of panic here.

        Knative's needs twice the ready pods in a tenth of the window, and does not scale down for a window.
        """
        wanted = max(self._load.average(now), self._load.open) / self._rules.target
        # In floating point an average of 1 is slightly above 1, the more the longer the machine is up.
        return math.ceil(round(wanted, 6))

    def _delayed(self, wanted: int, now: float) -> int:
        """The most that was wanted within the delay; each decision holds until the next one."""
        self._decisions.append((now, wanted))
        while (
            len(self._decisions) > 1 and self._decisions[1][0] <= now - self._rules.scale_down_delay
        ):
            self._decisions.popleft()
        return max(wanted for _, wanted in self._decisions)
