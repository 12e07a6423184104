"""Knative's behaviour and times, read from a Service's manifest. Sources are of Serving 1.21.3, unless named."""

import math
import re
from dataclasses import dataclass, replace
from typing import Self

from shared.core.json import Json
from tests.knative.rendering import scaling

_TIMES = (
    "window",
    "scale_down_delay",
    "retention",
    "zero_grace",
    "quiet",
    "grace",
    "response_start",
    "idle",
    "total",
    "tick",
    "crash_backoff",
)


@dataclass(frozen=True)
class Rules:
    """One revision's rules. Times are Knative's seconds until they are scaled."""

    # The stable window: `stable-window` in config/core/configmaps/autoscaler.yaml, or the annotation `window`.
    window: float = 60
    # A lower need must persist for so long before it counts: `delayWindow` in pkg/autoscaler/scaling/autoscaler.go.
    scale_down_delay: float = 0
    # The last pod stays so long: `lastPodRetention` in pkg/reconciler/autoscaling/kpa/scaler.go.
    retention: float = 0
    # And until the activator was in the path so long: `ScaleToZeroGracePeriod` and `ProxyFor`, the same file.
    zero_grace: float = 30
    # 0: the activator only wakes from zero. Anything else counts as always: ours are 0 and -1, and what a positive one
    # does depends on the load (`excessBCF` in pkg/autoscaler/scaling/autoscaler.go).
    burst_capacity: int = -1
    # From deletion to SIGTERM without a new request; open ones do not count: `DefaultDrainTimeout` in
    # knative.dev/pkg/network/network.go, `Drain` and `reset` in knative.dev/pkg/network/handlers/drain.go.
    quiet: float = 30
    # From deletion to SIGKILL: `TerminationGracePeriodSeconds` is `timeoutSeconds` in
    # pkg/reconciler/revision/resources/deploy.go.
    grace: float = 600
    # Time-outs of a request: pkg/http/handler/timeout.go, in queue-proxy and in the activator. To the first byte.
    response_start: float = 150
    # Without a byte, counted from the request's arrival.
    idle: float = 150
    # Of the whole request. Since 1.19 it cuts a response that has started.
    total: float = 600
    # `containerConcurrency`; 0 is without a limit.
    concurrency: int = 200
    # The queue of waiting requests; further requests get 503. Ten times the limit: `buildBreaker` in
    # pkg/queue/sharedmain/main.go. The activator's own queue has 10 000 places
    # (`breakerQueueDepth` in pkg/activator/net/throttler.go); here, both have one length.
    queue: int = 2000
    # Requests per pod: `autoscaling.knative.dev/target` times the utilization, at most `containerConcurrency`
    # (`ResolveMetricTarget` in pkg/reconciler/autoscaling/resources/target.go).
    target: float = 100
    min_scale: int = 0
    max_scale: int = 10
    # The autoscaler decides that often: `tickInterval` in pkg/autoscaler/scaling/multiscaler.go.
    tick: float = 2
    # A process that died before it was ready is not started again for so long: the kubelet's CrashLoopBackOff.
    # https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#restart-policy
    crash_backoff: float = 10

    @property
    def hold(self) -> float:
        """How long the last pod stays after nothing is needed: the longer of the two, not their sum (scaler.go)."""
        return max(self.retention, 0 if self.is_always_in_path else self.zero_grace)

    @property
    def is_always_in_path(self) -> bool:
        return self.burst_capacity != 0

    @property
    def to_zero(self) -> float:
        """From the end of the last request to the last pod's deletion; two ticks at most are added."""
        return self.window + self.scale_down_delay + self.hold

    def scaled(self, factor: float) -> Self:
        """The same with every time multiplied by one factor."""
        return replace(self, **{name: getattr(self, name) * factor for name in _TIMES})

    @classmethod
    def of(cls, service: Json) -> Self:
        """The rules in a rendered Knative Service."""
        spec, annotations = service["spec"]["template"]["spec"], scaling(service)
        # `revision-timeout-seconds` and its neighbours in config/core/configmaps/defaults.yaml.
        total = float(spec.get("timeoutSeconds", 300))
        concurrency = int(spec.get("containerConcurrency", 0))
        return cls(
            window=_go_seconds(annotations.get("window", "60s")),
            scale_down_delay=_go_seconds(annotations.get("scale-down-delay", "0s")),
            retention=_go_seconds(annotations.get("scale-to-zero-pod-retention-period", "0s")),
            burst_capacity=int(annotations.get("target-burst-capacity", "200")),
            grace=total,
            response_start=float(spec.get("responseStartTimeoutSeconds", total)),
            idle=float(spec.get("idleTimeoutSeconds", 0)) or math.inf,
            total=total,
            concurrency=concurrency,
            queue=10 * concurrency,
            target=_target(annotations, concurrency),
            min_scale=int(annotations.get("min-scale", "0")),
            max_scale=int(annotations.get("max-scale", "0")) or 1000,
        )


@dataclass(frozen=True)
class Delivery:
    """How a Broker delivers: a Trigger's `delivery`. Times are Knative's seconds until they are scaled."""

    # Of one request: `RequestTimeout` in knative/eventing pkg/kncloudevents/retries.go.
    timeout: float = 30
    # After the first request: `RetryMax`, the same file.
    retries: int = 0
    # Before the first retry, then twice as long each time: `BackoffPolicyExponential`, the same file.
    backoff: float = 1

    def scaled(self, factor: float) -> Self:
        """The same with every time multiplied by one factor."""
        return replace(self, timeout=self.timeout * factor, backoff=self.backoff * factor)

    @classmethod
    def of(cls, trigger: Json) -> Self:
        """The delivery in a rendered Trigger."""
        delivery = trigger["spec"]["delivery"]
        assert delivery["backoffPolicy"] == "exponential"
        return cls(
            timeout=_iso_seconds(delivery["timeout"]),
            retries=delivery["retry"],
            backoff=_iso_seconds(delivery["backoffDelay"]),
        )


def _target(annotations: dict[str, str], concurrency: int) -> float:
    part = float(annotations.get("target-utilization-percentage", "70")) / 100
    target = float(annotations.get("target", "100"))
    return (min(target, concurrency) if concurrency else target) * part


def _go_seconds(text: str) -> float:
    """Go's `1m30s`."""
    units = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
    parts: list[tuple[str, str]] = re.findall(r"([\d.]+)(ms|[hms])", text)
    return sum(float(number) * units[unit] for number, unit in parts)


def _iso_seconds(text: str) -> float:
    """ISO 8601's `PT1M30S`."""
    return _go_seconds(text.removeprefix("PT").lower())
