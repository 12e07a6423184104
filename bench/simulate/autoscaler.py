"""Knative's decisions: how many pods the requests need, and when the last one may go."""

import math
from dataclasses import dataclass
from typing import Final, Literal

from bench.simulate.rules import Rules
from bench.simulate.windows import Average, Maximum, WeightedAverage

#: `tickInterval` in pkg/autoscaler/scaling/multiscaler.go.
TICK_SECONDS: Final = 2.0


class Decider:
    """How many pods the open requests need: `Scale` in pkg/autoscaler/scaling/autoscaler.go."""

    def __init__(self, rules: Rules) -> None:
        average = WeightedAverage if rules.is_weighted else Average
        self._rules = rules
        self._stable = average(rules.window)
        self._panic = average(rules.window * rules.panic_window_share)
        self._delayed = Maximum(rules.delay, TICK_SECONDS) if rules.delay else None
        self._panics_since: float | None = None
        self._most_in_panic = 0
        self.latest = 0
        #: How many requests the ready pods take beyond the burst capacity; negative: the activator is in the path.
        self.spare = -1.0

    def record(self, now: float, requests: float) -> None:
        """Record how many requests were open, as an average over the last second."""
        self._stable.record(now, requests)
        self._panic.record(now, requests)

    def decide(self, now: float, ready: int) -> int:
        """The number of pods, before the bounds of the Service. Without any data it stays what it was."""
        if self._rules.is_scraped and self._stable.is_empty(now):
            return self.latest
        stable, recent = self._stable.average(now), self._panic.average(now)
        wanted = self._out_of_panic(now, stable, recent, max(ready, 1))
        self.latest = self._delayed.record(now, wanted) if self._delayed else wanted
        self.spare = self._spare(recent, ready)
        return self.latest

    def _out_of_panic(self, now: float, stable: float, recent: float, ready: int) -> int:
        """In panic, which lasts a window after the last high need, the number of pods only grows."""
        needed = math.ceil(recent / self._rules.target)
        if needed / ready >= self._rules.panic_threshold:
            self._panics_since = now
        elif self._panics_since is not None and self._panics_since + self._rules.window < now:
            self._panics_since, self._most_in_panic = None, 0
        wanted = self._bounded(math.ceil(stable / self._rules.target), ready)
        if self._panics_since is None:
            return wanted
        self._most_in_panic = max(self._most_in_panic, wanted, self._bounded(needed, ready))
        return self._most_in_panic

    def _bounded(self, needed: int, ready: int) -> int:
        """Within the rates of a tick; and at least the activation scale, if there is any need."""
        rules = self._rules
        least, most = ready // rules.max_scale_down, math.ceil(ready * rules.max_scale_up)
        bounded = int(min(max(needed, least), most))
        return (
            max(bounded, rules.activation_scale)
            if needed and rules.activation_scale > 1
            else bounded
        )

    def _spare(self, recent: float, ready: int) -> float:
        if self._rules.burst <= 0:
            return self._rules.burst
        return math.floor(ready * self._rules.capacity - self._rules.burst - recent)


State = Literal["inactive", "activating", "active"]


@dataclass
class Reconciler:
    """How many replicas there are to be: `scale`, `handleScaleToZero` and `computeActiveCondition` in kpa.

    pkg/reconciler/autoscaling/kpa/scaler.go and kpa.go.
    """

    rules: Rules
    state: State = "inactive"
    since: float = -math.inf
    #: Since when the activator is in the path; infinity: it is not.
    proxied_since: float = -math.inf

    def replicas(self, now: float, decider: Decider, current: int, ready: int) -> int:
        """The replicas, for what the decider wants."""
        wanted = max(decider.latest, self.rules.min_scale)
        wanted = min(wanted, self.rules.max_scale or wanted)
        if wanted and decider.spare >= 0:
            self.proxied_since = math.inf
        else:
            self.proxied_since = min(self.proxied_since, now)
        if not wanted:
            return self._towards_zero(now, current)
        self._become("active" if ready >= max(self.rules.min_scale, 1) else "activating", now)
        return wanted

    def _towards_zero(self, now: float, current: int) -> int:
        if self.state == "activating":
            return current
        if self.state == "active":
            if now - self.since < self.rules.window:
                return 1
            self._become("inactive", now)
        return 0 if now >= self.zero_at else current

    @property
    def zero_at(self) -> float:
        """When an inactive revision may lose its last pod."""
        rules = self.rules
        surely = self.since + max(rules.retention, rules.zero_grace)
        proxied = max(self.since + rules.retention, self.proxied_since + rules.zero_grace)
        return min(surely, proxied)

    def _become(self, state: State, now: float) -> None:
        if self.state != state:
            self.state, self.since = state, now
