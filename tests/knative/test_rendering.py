"""Every combination of the components in `knative/` renders, and a cluster accepts it."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from functions.registry import listed_functions
from shared.core.json import Json
from tests.knative.rendering import (
    FOLDER,
    CannotRender,
    combine,
    components,
    container,
    copied,
    overlays,
    render,
    services,
)
from tests.knative.schemas import faults

_EXAMPLES = sorted(FOLDER.rglob("*.example.yaml"))
_FUNCTIONS = set(listed_functions().names)


@pytest.mark.parametrize("overlay", overlays())
def test_every_combination_of_components_renders_whole(overlay: str) -> None:
    every = components()
    chosen = [some for n in range(len(every) + 1) for some in combinations(every, n)]
    with copied() as folder, ThreadPoolExecutor(2) as pool:
        folders = [combine(folder, overlay, some) for some in chosen]
        for objects in pool.map(render, folders):
            assert not [fault for each in objects for fault in _faults(json.dumps(each))]
            _check_whole(objects)


def _check_whole(objects: list[Json]) -> None:
    found = services(objects)
    assert found.keys() == _FUNCTIONS
    [settings] = [each["metadata"]["name"] for each in objects if each["kind"] == "ConfigMap"]
    for name, service in found.items():
        one = container(service)
        assert one["args"] == [name]
        assert one["envFrom"] == [{"configMapRef": {"name": settings}}]
        assert one["livenessProbe"]["httpGet"] == {"path": "/health"}
        assert one["readinessProbe"]["httpGet"] == {"path": "/readiness"}
        assert one["resources"] == {
            "requests": {"cpu": "250m", "memory": "256Mi"},
            "limits": {"cpu": "1", "memory": "1Gi"},
        }
        assert "SUPABASE_DATABASE_URL" in {each["name"] for each in one["env"]}
    made = list(_containers(objects))
    assert len(made) == len(found) + sum(each["kind"] == "CronJob" for each in objects)
    for one in made:
        assert "/agent-functions:" in one["image"], "no name or no tag"
        _check_restricted(one["securityContext"])
    assert {each["metadata"].get("namespace", "") for each in objects} == {"", "agent-backend"}


def _check_restricted(security: Json) -> None:
    assert security["runAsNonRoot"] is True
    assert security["runAsUser"] > 0
    assert security["readOnlyRootFilesystem"] is True
    assert security["allowPrivilegeEscalation"] is False
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}


def _containers(value: Any) -> Iterator[Json]:
    """The containers of an object of any kind."""
    if isinstance(value, dict):
        yield from value.get("containers", [])
        value = list(value.values())
    for each in value if isinstance(value, list) else ():
        yield from _containers(each)


@cache
def _faults(manifest: str) -> tuple[str, ...]:
    # The same object occurs in very many combinations.
    return tuple(faults(json.loads(manifest)))


def test_pods_get_no_token_and_no_variables_of_their_neighbours() -> None:
    for overlay in overlays():
        for service in services(render(FOLDER / "overlays" / overlay)).values():
            spec = service["spec"]["template"]["spec"]
            assert spec["automountServiceAccountToken"] is False
            assert spec["enableServiceLinks"] is False
            assert "volumes" not in spec, "nothing is written"


@pytest.mark.parametrize("path", _EXAMPLES, ids=lambda path: path.name)
def test_a_cluster_accepts_the_examples(path: Path) -> None:
    for each in yaml.safe_load_all(path.read_text()):
        # The fields of a ClusterDomainClaim are internal to Knative, and its models lack them.
        assert each["kind"] == "ClusterDomainClaim" or not faults(each)


@pytest.mark.parametrize(
    ("file", "right", "wrong"),
    [
        ("base/every-agent.yaml", "idleTimeoutSeconds", "idleTimeoutSecond"),
        ("base/tools.yaml", "secretKeyRef", "secretKeyReference"),
        ("base/runner.yaml", "autoscaling.knative.dev/window", "autoscaling.knative.dev/windows"),
        ("base/runner.yaml", "20s", "twenty"),
        ("base/every-function.yaml", "readOnlyRootFilesystem", "readOnlyRootFileSystem"),
        ("base/every-function.yaml", "failureThreshold", "failureTreshold"),
        ("base/namespace.yaml", "labels", "label"),
        ("components/eventing/trigger.yaml", "backoffPolicy", "backOffPolicy"),
        ("components/eventing/sinkbindings.yaml", "subject", "subjects"),
        ("components/pingsource-sweep/pingsource.yaml", "schedule", "scheduled"),
        ("components/cronjob-sweep/cronjob.yaml", "backoffLimit", "backOffLimit"),
        ("components/network-policy/egress.yaml", "cidr", "cdir"),
        ("components/domain-mapping/domain-mappings.yaml", "ref:", "reference:"),
    ],
)
def test_a_misspelled_field_is_found(file: str, right: str, wrong: str) -> None:
    found = _faults_with(file, right, wrong)
    # A schema names the unknown field, or the required one that is missing.
    assert any(wrong.strip(":") in fault or f"{right.strip(':')}: " in fault for fault in found)


@pytest.mark.parametrize(
    ("file", "right", "wrong", "field"),
    [
        ("base/every-agent.yaml", "Seconds: 600", "Seconds: '600'", "timeoutSeconds"),
        ("base/every-function.yaml", "Threshold: 3", "Threshold: often", "failureThreshold"),
        ("components/eventing/trigger.yaml", "retry: 8", "retry: many", "retry"),
    ],
)
def test_a_value_of_another_type_is_found(file: str, right: str, wrong: str, field: str) -> None:
    assert any(field in fault for fault in _faults_with(file, right, wrong))


def _faults_with(file: str, right: str, wrong: str) -> list[str]:
    with copied() as folder:
        text = (folder / file).read_text()
        assert right in text
        (folder / file).write_text(text.replace(right, wrong, 1))
        objects = render(combine(folder, "production", components()))
    return [fault for each in objects for fault in faults(each)]


def test_a_patch_of_one_variable_leaves_the_rest_of_its_container() -> None:
    patch = """
apiVersion: serving.knative.dev/v1
kind: Service
metadata: {name: any}
spec: {template: {spec: {containers: [{name: function, env: [{name: PORT, value: "8081"}]}]}}}
"""
    with copied() as folder:
        made = combine(folder, "production", [])
        path = made / "kustomization.yaml"
        kustomization = yaml.safe_load(path.read_text())
        kustomization["patches"].append({"target": {"kind": "Service"}, "patch": patch})
        path.write_text(yaml.safe_dump(kustomization))
        objects = render(made)
    _check_whole(objects)
    variables = {each["name"] for each in container(services(objects)["assistant"])["env"]}
    assert variables > {"PORT", "OPENAI_API_KEY"}


def test_other_settings_are_another_revision() -> None:
    with copied() as folder:
        before = _settings_of(folder)
        settings = folder / "overlays/production/settings.env"
        settings.write_text(settings.read_text().replace("gpt-5-mini", "gpt-5"))
        assert _settings_of(folder) != before


def _settings_of(folder: Path) -> str:
    agent = services(render(folder / "overlays/production"))["assistant"]
    return str(container(agent)["envFrom"][0]["configMapRef"]["name"])


def test_an_error_of_kustomize_is_passed_on() -> None:
    with copied() as folder:
        (folder / "base/assistant.yaml").unlink()
        with pytest.raises(CannotRender, match=r"assistant\.yaml"):
            render(folder / "overlays/production")
