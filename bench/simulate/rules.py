"""The scaling rules of a Knative Service, as `knative/base` sets them."""

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import yaml

BASE: Final = Path(__file__).parents[2] / "knative" / "base"
_PREFIX: Final = "autoscaling.knative.dev/"


@dataclass(frozen=True)
class Rules:
    """One revision's rules. Times are in seconds.

    Defaults are Knative's: config/core/configmaps/autoscaler.yaml and defaults.yaml.
    """

    target: float = 100
    concurrency: int = 0
    window: float = 60
    delay: float = 0
    retention: float = 0
    #: -1: the activator is always in the path, and no pod is scraped (`resolveScrapeTarget` in kpa.go).
    burst: float = 200
    min_scale: int = 0
    max_scale: int = 0
    activation_scale: int = 1
    is_weighted: bool = False
    #: From a pod's deletion to SIGKILL: `TerminationGracePeriodSeconds` in pkg/reconciler/revision/resources/deploy.go.
    timeout: float = 300
    panic_window_share: float = 0.1
    panic_threshold: float = 2
    max_scale_up: float = 1000
    max_scale_down: float = 2
    zero_grace: float = 30

    @property
    def is_scraped(self) -> bool:
        """Whether the autoscaler reads the pods' own counts."""
        return self.burst != -1

    @property
    def room(self) -> float:
        """The most requests that one pod serves at once."""
        return self.concurrency or math.inf

    @property
    def capacity(self) -> float:
        """What a pod counts for beside the burst capacity: `TotalValue`, the same function as the target."""
        return self.concurrency or self.target

    @classmethod
    def of(cls, spec: dict[str, Any], annotations: dict[str, str]) -> Self:
        """The rules in the template of a Service: its spec, and its annotations without their prefix."""
        concurrency = int(spec.get("containerConcurrency", 0))
        algorithm = annotations.get("metric-aggregation-algorithm", "linear")
        return cls(
            target=_target(annotations, concurrency),
            concurrency=concurrency,
            window=seconds(annotations.get("window", "60s")),
            delay=seconds(annotations.get("scale-down-delay", "0s")),
            retention=seconds(annotations.get("scale-to-zero-pod-retention-period", "0s")),
            burst=float(annotations.get("target-burst-capacity", "200")),
            min_scale=int(annotations.get("min-scale", "0")),
            max_scale=int(annotations.get("max-scale", "0")),
            activation_scale=int(annotations.get("activation-scale", "1")),
            is_weighted=algorithm != "linear",
            timeout=float(spec.get("timeoutSeconds", 300)),
        )


def shipped(name: str, base: Path = BASE) -> Rules:
    """The rules of a function of the bundle: its own manifest, and the files for all functions and for all agents."""
    own = yaml.safe_load((base / f"{name}.yaml").read_text())
    names = [name, "every-function"]
    if own["metadata"]["labels"]["agent-functions/kind"] == "agent":
        names.append("every-agent")
    spec: dict[str, Any] = {}
    annotations: dict[str, str] = {}
    for each in names:
        template = yaml.safe_load((base / f"{each}.yaml").read_text())["spec"]["template"]
        spec |= template["spec"]
        annotations |= template.get("metadata", {}).get("annotations", {})
    return Rules.of(spec, {key.removeprefix(_PREFIX): text for key, text in annotations.items()})


def _target(annotations: dict[str, str], concurrency: int) -> float:
    """The smaller of both limits, times the utilization: `ResolveMetricTarget` in resources/target.go."""
    target = float(annotations.get("target", "100"))
    utilization = float(annotations.get("target-utilization-percentage", "70")) / 100
    return (min(target, concurrency) if concurrency else target) * utilization


def seconds(text: str) -> float:
    """Go's durations, such as `1m30s`, in seconds."""
    units = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
    parts: list[tuple[str, str]] = re.findall(r"([\d.]+)(ms|[hms])", text)
    return sum(float(number) * units[unit] for number, unit in parts)
