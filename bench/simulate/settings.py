"""The settings that are compared, and their cost for a trace."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Final

from bench.simulate import DAY
from bench.simulate.deployment import Deployment, Hpa
from bench.simulate.outcome import Outcome, together
from bench.simulate.revision import Revision
from bench.simulate.rules import Rules, shipped
from bench.simulate.traces import Trace

#: The goal: on the idle-heavy chat, at most this part of the pod-seconds of a Deployment with two replicas.
GOAL: Final = 0.15
_REPLICAS: Final = 2
_WINDOWS: Final = (6, 10, 20, 30, 45, 60, 90)
_DELAYS: Final = (0, 20, 30, 60)
_RETENTIONS: Final = (0, 20, 30, 60, 120)


def knative(trace: Trace, rules: Rules) -> Outcome:
    """All agents of a trace as Knative Services with these rules."""
    return together(Revision(rules).run(agent) for agent in trace.agents)


def deployment(trace: Trace, hpa: Hpa) -> Outcome:
    """All agents of a trace as Deployments."""
    return together(Deployment(hpa).run(agent) for agent in trace.agents)


def relative(outcome: Outcome, trace: Trace) -> float:
    """The pod-seconds as a part of those of two replicas of each agent."""
    return outcome.pod_seconds / (_REPLICAS * DAY * len(trace.agents))


def proposed(rules: Rules) -> Rules:
    """The same, with the windows that reach the goal: docs/scale.md."""
    return replace(rules, window=60, delay=20, retention=0)


def compared(trace: Trace) -> Iterator[tuple[str, Outcome]]:
    """The settings of the table, by name."""
    rules = shipped("assistant")
    yield "shipped", knative(trace, rules)
    yield "proposed", knative(trace, proposed(rules))
    yield "`always-warm`", knative(trace, replace(rules, min_scale=1))
    yield "Deployment, 2 to 10", deployment(trace, Hpa())
    yield "Deployment, 3 to 10", deployment(trace, Hpa(min_replicas=3))


@dataclass(frozen=True)
class Tried:
    """A combination of windows, in seconds, and what it costs."""

    window: float
    delay: float
    retention: float
    relative: float
    cold_starts: int

    @property
    def to_zero(self) -> float:
        """From the end of the last request to the last pod's deletion, without ticks."""
        return self.window + self.delay + self.retention


def search(trace: Trace) -> list[Tried]:
    """Every combination of windows."""
    rules = shipped("assistant")
    return [_tried(trace, rules, *windows) for windows in product(_WINDOWS, _DELAYS, _RETENTIONS)]


def _tried(trace: Trace, rules: Rules, window: float, delay: float, retention: float) -> Tried:
    outcome = knative(trace, replace(rules, window=window, delay=delay, retention=retention))
    cold_starts = len(outcome.cold_waits)
    return Tried(window, delay, retention, relative(outcome, trace), cold_starts)
