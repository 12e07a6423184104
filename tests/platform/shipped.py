"""The rules and settings of a function's manifest, with all times scaled by a test's factor."""

from collections.abc import Mapping

import yaml

from shared.core.settings import Settings
from tests.fixtures.environment import variables
from tests.knative.rendering import FOLDER, container, render, services
from tests.platform.rules import Delivery, Rules

#: Settings in seconds that belong to the platform; others, such as the tick, keep their defaults.
_SCALED = (
    "RUN_DEADLINE_SECONDS",
    "STOP_GRACE_SECONDS",
    "STOP_HANDOVER_SECONDS",
    "LEASE_SECONDS",
    "LEASE_RENEW_SECONDS",
)
#: Defaults of the code for settings that no manifest has.
_DEFAULTS = variables(Settings())


def shipped(name: str, factor: float) -> tuple[Rules, dict[str, str]]:
    """The rules of a function's manifest, and its settings that go with them as environment variables."""
    objects = render(FOLDER / "overlays" / "production")
    service = services(objects)[name]
    [shared] = [each["data"] for each in objects if each["kind"] == "ConfigMap"]
    own = {each["name"]: each["value"] for each in container(service)["env"] if "value" in each}
    settings: Mapping[str, str] = {**_DEFAULTS, **shared, **own}
    scaled = {each: str(float(settings[each]) * factor) for each in _SCALED}
    return Rules.of(service).scaled(factor), scaled


def shipped_delivery(factor: float) -> Delivery:
    """How the Trigger delivers to `runner`."""
    trigger = yaml.safe_load((FOLDER / "components/eventing/trigger.yaml").read_text())
    return Delivery.of(trigger).scaled(factor)
