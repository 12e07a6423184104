"""The manifests, the code and the gateway agree about each function."""

import importlib
import json
import re
from collections.abc import Iterator
from dataclasses import fields
from itertools import combinations
from typing import Any

import pytest
import yaml

from functions.registry import folder_of, listed_functions, variable_of
from knative.budget import budget
from knative.rendering import KIND
from local.environment import ROOT
from shared.core.json import Json
from shared.core.settings import Settings
from tests.knative.rendering import FOLDER, container, overlays, render, scaling, services

LISTED = listed_functions()
FUNCTIONS = LISTED.names
KINDS = {function.name: function.kind for function in LISTED.functions}
#: The functions whose requests are runs.
ANSWERING = [name for name, kind in KINDS.items() if kind in ("agent", "runner")]
#: The most a cluster allows by default (`max-revision-timeout-seconds`).
_LONGEST_SECONDS = 600
#: queue-proxy waits so long without a new request before SIGTERM (knative.dev/pkg/network/handlers/drain.go).
_DRAIN_SECONDS = 30
#: Seconds between the end of the grace and SIGKILL.
_EXIT_SECONDS = 15
#: An Edge Function's response is cut after so long.
_EDGE_SECONDS = 150
#: Keys that one function's own code needs, by their prefixes.
_OWN_KEYS = ("MODEL_PROVIDER_", "TOOL_SECRET_", "MCP_SECRET_")
_SETTINGS = {each.name.upper(): each for each in fields(Settings)}


class Overlay:
    """One overlay, rendered."""

    def __init__(self, name: str) -> None:
        objects = render(FOLDER / "overlays" / name)
        self.services = services(objects)
        [self.plain] = [each["data"] for each in objects if each["kind"] == "ConfigMap"]

    def spec(self, function: str) -> Json:
        return self.services[function]["spec"]["template"]["spec"]  # type: ignore[no-any-return]

    def secrets(self, function: str) -> dict[str, Json]:
        """The keys of the Secret that a function gets, by variable."""
        return {
            each["name"]: each["valueFrom"]["secretKeyRef"]
            for each in container(self.services[function])["env"]
            if "valueFrom" in each
        }

    def own(self, function: str) -> dict[str, str]:
        """The settings of this function alone, by variable."""
        env = container(self.services[function])["env"]
        return {each["name"]: each["value"] for each in env if "value" in each}

    def seconds(self, setting: str) -> float:
        """A setting, or its default."""
        default = getattr(Settings(), setting.lower())
        return float(self.plain.get(setting, default))


@pytest.fixture(scope="module", params=overlays())
def overlay(request: pytest.FixtureRequest) -> Overlay:
    return Overlay(request.param)


def test_every_function_has_a_service_and_is_public_as_its_kind_says(overlay: Overlay) -> None:
    assert sorted(overlay.services) == sorted(FUNCTIONS)
    kinds = {name: each["metadata"]["labels"][KIND] for name, each in overlay.services.items()}
    assert kinds == KINDS
    public = {name for name, each in overlay.services.items() if _is_public(each)}
    assert public == {function.name for function in LISTED.public}


def _is_public(service: Json) -> bool:
    label = "networking.knative.dev/visibility"
    return bool(service["metadata"]["labels"].get(label) != "cluster-local")


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_gets_what_it_requires(overlay: Overlay, function: str) -> None:
    app = importlib.import_module(f"functions.{folder_of(function)}.app").app
    secrets = overlay.secrets(function)
    required = {name.upper() for name in app.requires}
    if function in ANSWERING:
        # Required by TOOLS_URL, which all of them get.
        required.add("INTERNAL_SIGNING_KEY")
    certain = {name for name, key in secrets.items() if not key.get("optional")}
    assert required <= certain | {name for name, value in overlay.plain.items() if value}


def test_a_function_gets_no_secret_of_another(overlay: Overlay) -> None:
    holders = {
        "SUPABASE_DATABASE_URL": set(FUNCTIONS),
        "OPENAI_API_KEY": set(ANSWERING),
        "INTERNAL_SIGNING_KEY": {*ANSWERING, "tools"},
        "LEGACY_JWT_SECRET": {function.name for function in LISTED.public},
        "MOCK_WEATHER_TOOL_API_KEY": {"tools"},
    }
    held = {
        variable: {f for f in FUNCTIONS if variable in overlay.secrets(f)} for variable in holders
    }
    assert held == holders
    common = {v for f in FUNCTIONS for v in overlay.secrets(f) if not v.startswith(_OWN_KEYS)}
    assert common == holders.keys()
    for function in (*ANSWERING, "tools"):
        # Each signs with a key of its own.
        key = overlay.secrets(function)["INTERNAL_SIGNING_KEY"]["key"]
        assert key == f"{variable_of(function)}_SIGNING_KEY"


def test_runner_has_the_keys_of_every_agent_whose_runs_it_finishes(overlay: Overlay) -> None:
    of_runner = overlay.secrets("runner")
    for agent in LISTED.agents:
        own = {v: key for v, key in overlay.secrets(agent).items() if v.startswith(_OWN_KEYS)}
        assert own.items() <= of_runner.items()


def test_the_example_has_exactly_the_required_keys(overlay: Overlay) -> None:
    example = yaml.safe_load((FOLDER / "secrets.example.yaml").read_text())
    required = [
        each
        for function in FUNCTIONS
        for variable, each in overlay.secrets(function).items()
        if not variable.startswith(_OWN_KEYS)
    ]
    assert {each["name"] for each in required} == {example["metadata"]["name"]}
    # One agent stands for all: each signs with a key that has its name.
    others = {f"{variable_of(name)}_SIGNING_KEY" for name in LISTED.agents[1:]}
    assert {each["key"] for each in required} - others == example["stringData"].keys() - others
    page = (ROOT / "docs/knative.md").read_text()
    for key in example["stringData"]:
        # In the command, or named after it as optional.
        assert re.search(rf"--from-(literal|file)={key}=|`{key}`", page), key


def test_the_configmap_has_settings_and_no_secret(overlay: Overlay) -> None:
    assert overlay.plain.keys() <= _SETTINGS.keys()
    assert not [name for name in overlay.plain if not _SETTINGS[name].repr]
    # The project of the example is a placeholder, which no function accepts.
    Settings.from_env(
        {name: value.replace("<ref>", "project") for name, value in overlay.plain.items()}
    )


def test_deadlines_are_below_timeouts(overlay: Overlay) -> None:
    deadline = overlay.seconds("RUN_DEADLINE_SECONDS")
    for function in ANSWERING:
        # The sender of a delivery waits 30 s longer than the run may take.
        assert deadline + 30 < overlay.spec(function)["timeoutSeconds"]
        # A run that started just before SIGTERM ends by itself, or at its own deadline.
        assert deadline < _grace(overlay, function) - overlay.seconds("STOP_HANDOVER_SECONDS")
    assert overlay.seconds("MODEL_TURN_SECONDS") < deadline
    assert overlay.seconds("TOOL_SECONDS") < overlay.spec("tools")["responseStartTimeoutSeconds"]
    assert overlay.seconds("STREAM_LEG_SECONDS") < _EDGE_SECONDS
    trigger = yaml.safe_load((FOLDER / "components/eventing/trigger.yaml").read_text())
    held_open = int(trigger["spec"]["delivery"]["timeout"].strip("PTS"))
    assert held_open > overlay.spec("runner")["timeoutSeconds"]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_stop_is_over_before_the_platform_kills(overlay: Overlay, function: str) -> None:
    after_sigterm = overlay.spec(function)["timeoutSeconds"] - _DRAIN_SECONDS
    assert _grace(overlay, function) == after_sigterm - _EXIT_SECONDS
    assert overlay.own(function).keys() == {"STOP_GRACE_SECONDS"}


def _grace(overlay: Overlay, function: str) -> float:
    return float(overlay.own(function)["STOP_GRACE_SECONDS"])


@pytest.mark.parametrize("function", FUNCTIONS)
def test_timeouts_are_in_order(overlay: Overlay, function: str) -> None:
    spec = overlay.spec(function)
    whole, idle = spec["timeoutSeconds"], spec["idleTimeoutSeconds"]
    start = spec["responseStartTimeoutSeconds"]
    # Before the first byte Knative counts idleness from the request's arrival.
    assert start <= idle <= whole <= _LONGEST_SECONDS
    assert start > overlay.seconds("DATABASE_SECONDS") * 2
    assert idle > overlay.seconds("KEEP_ALIVE_SECONDS") * 3
    if _is_public(overlay.services[function]):
        assert start > _gateway_seconds()


def _gateway_seconds() -> float:
    documented = (ROOT / "docs/configuration.md").read_text()
    [seconds] = re.findall(r"^\| `HEADER_TIMEOUT_SECONDS` \| (\d+) \|", documented, re.MULTILINE)
    return float(seconds)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_concurrency_is_what_was_measured(overlay: Overlay, function: str) -> None:
    measured = json.loads((ROOT / "bench/capacity.json").read_text())[KINDS[function]]
    scale, limit = scaling(overlay.services[function]), overlay.spec(function)
    assert int(scale["target"]) == measured["target"]
    assert limit["containerConcurrency"] == measured["concurrency"]
    assert measured["target"] < measured["concurrency"]
    if function in ANSWERING:
        # Runs whose clients have left have no open request, and need room beyond the open ones.
        assert limit["containerConcurrency"] < overlay.seconds("MAX_LIVE_RUNS")


def test_nothing_runs_while_nothing_happens(overlay: Overlay) -> None:
    scales = [scaling(service) for service in overlay.services.values()]
    assert {each["min-scale"] for each in scales} == {"0"}
    pods = sum(int(each["max-scale"]) for each in scales)
    assert pods * overlay.seconds("DATABASE_CONNECTIONS") <= LISTED.database_clients


def test_all_pods_fit_the_database() -> None:
    base = budget(LISTED)
    assert base.used <= base.database_clients
    assert min(base.max_scales.values()) >= 1


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_setting_is_common_to_all_functions_or_of_one(function: str) -> None:
    for one, other in combinations(map(_values, _files(function)), 2):
        common = {key for key in one & other if not key.endswith((".kind", ".apiVersion", ".name"))}
        assert not common


def _files(function: str) -> list[str]:
    """The files of `base` that make a function's Service."""
    of_kind = ["every-agent"] if KINDS[function] == "agent" else []
    return ["every-function", *of_kind, function]


def _values(file: str) -> set[str]:
    return set(_keys("", yaml.safe_load((FOLDER / f"base/{file}.yaml").read_text())))


def _keys(place: str, value: Any) -> Iterator[str]:
    match value:
        case dict():
            for name, each in value.items():
                yield from _keys(f"{place}.{name}", each)
        case [{"name": _}, *_]:
            for each in value:
                yield from _keys(f"{place}[{each['name']}]", each)
        case _:
            yield place


@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_number_has_its_reason(function: str) -> None:
    own = [name for name in _files(function) if name != "every-function"]
    text = "".join((FOLDER / f"base/{name}.yaml").read_text() for name in own)
    # The reason is at the end of the line, or in the comment above it.
    numbers = re.findall(r'(?:^ *# .*\n)*^ *[\w./-]+: "?-?\d.*$', text, re.MULTILINE)
    assert len(numbers) == 11
    for line in numbers:
        assert re.search(r" # \w.{9}", line), line
