"""The stand-in's rules are those of the manifests that ship."""

import math
from dataclasses import asdict, replace

import pytest

from functions.registry import listed_functions
from shared.core.json import Json
from tests.knative.rendering import FOLDER, combine, copied, render, services
from tests.platform.rules import Delivery, Rules


@pytest.fixture(scope="module")
def shipped() -> dict[str, Json]:
    return services(render(FOLDER / "overlays" / "production"))


def test_every_function_has_the_time_to_zero_that_a_cluster_showed(
    shipped: dict[str, Json],
) -> None:
    to_zero = {name: Rules.of(service).to_zero for name, service in shipped.items()}

    # Measured on a cluster: `assistant` 150 s after its last request, `runner` 22 s, `threads` 85 s.
    agents = dict.fromkeys(listed_functions().agents, 150)
    assert to_zero == {**agents, "runner": 20, "threads": 90, "tools": 90}


@pytest.mark.parametrize("name", listed_functions().names)
def test_every_function_has_rules_that_fit_together(shipped: dict[str, Json], name: str) -> None:
    rules = Rules.of(shipped[name])

    assert rules.grace == rules.total > rules.quiet
    assert rules.response_start <= rules.total
    assert rules.target <= rules.concurrency
    assert rules.queue == 10 * rules.concurrency
    assert rules.min_scale == 0
    assert 1 <= rules.max_scale <= 10


def test_each_rule_is_read_from_its_place_in_a_manifest() -> None:
    annotations = {
        "target": "80",
        "target-utilization-percentage": "50",
        "window": "1m30s",
        "scale-down-delay": "5s",
        "scale-to-zero-pod-retention-period": "250ms",
        "target-burst-capacity": "0",
        "min-scale": "1",
        "max-scale": "4",
    }
    spec = {
        "containerConcurrency": 60,
        "timeoutSeconds": 400,
        "responseStartTimeoutSeconds": 100,
        "idleTimeoutSeconds": 50,
    }

    assert Rules.of(service(spec, annotations)) == Rules(
        window=90,
        scale_down_delay=5,
        retention=0.25,
        burst_capacity=0,
        grace=400,
        response_start=100,
        idle=50,
        total=400,
        concurrency=60,
        queue=600,
        target=30,
        min_scale=1,
        max_scale=4,
    )


def test_rules_that_a_manifest_leaves_out_have_knatives_defaults() -> None:
    rules = Rules.of(service({}, {}))

    assert (rules.window, rules.target, rules.burst_capacity) == (60, 70, 200)
    assert (rules.total, rules.response_start, rules.idle) == (300, 300, math.inf)
    assert (rules.concurrency, rules.min_scale, rules.max_scale) == (0, 0, 1000)


def test_one_factor_scales_times_and_nothing_else() -> None:
    rules = Rules()
    scaled = asdict(rules.scaled(1 / 30))

    same = {name for name, value in asdict(rules).items() if value == scaled[name]}
    assert same == {
        *("burst_capacity", "concurrency", "queue", "target", "min_scale", "max_scale"),
        # Zero before and after.
        *("scale_down_delay", "retention"),
    }
    assert (scaled["window"], scaled["quiet"], scaled["grace"]) == (2, 1, 20)
    assert replace(rules, retention=60, scale_down_delay=30).scaled(1 / 30).to_zero == 5


def test_the_trigger_that_ships_is_read() -> None:
    with copied() as folder:
        objects = render(combine(folder, "production", ["eventing"]))
    [trigger] = [each for each in objects if each["kind"] == "Trigger"]

    delivery = Delivery.of(trigger)

    assert delivery.retries == trigger["spec"]["delivery"]["retry"]
    assert f"PT{delivery.timeout:.0f}S" == trigger["spec"]["delivery"]["timeout"]
    assert delivery.scaled(0.5).backoff == delivery.backoff / 2


def service(spec: Json, annotations: dict[str, str]) -> Json:
    annotations = {f"autoscaling.knative.dev/{name}": text for name, text in annotations.items()}
    return {"spec": {"template": {"metadata": {"annotations": annotations}, "spec": spec}}}
