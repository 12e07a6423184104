"""The component `eventing`: a Broker and a Trigger between the functions and `runner`."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from knative.rollout import state
from tests.cluster.bundle import ClusterBundle
from tests.cluster.choice import NAMESPACE
from tests.cluster.revisions import deploy
from tests.cluster.waits import until

_SENDERS = ("assistant", "runner")
_BINDINGS = tuple(f"sinkbinding.sources.knative.dev/{each}-to-runs" for each in _SENDERS)
_BROKER = ("broker.eventing.knative.dev/runs", "trigger.eventing.knative.dev/runs-to-runner")


@asynccontextmanager
async def through_a_broker(bundle: ClusterBundle) -> AsyncIterator[None]:
    """Runs that wait go through a Broker until the block ends."""
    try:
        await _add(bundle)
        yield
    finally:
        await _remove(bundle)


async def _add(bundle: ClusterBundle) -> None:
    bundle.use("network-policy", "eventing")
    await deploy(bundle)
    wait = ("wait", "--for=condition=Ready", "--timeout=180s", *_BROKER, *_BINDINGS)
    await asyncio.to_thread(bundle.kubectl, "-n", NAMESPACE, *wait)
    await until(180, "all send to the Broker", _all_send_to_the_broker, bundle)


async def _remove(bundle: ClusterBundle) -> None:
    # A deleted SinkBinding removes its address from the Services; `deploy` does not wait for that.
    delete = ("delete", "--ignore-not-found", *_BINDINGS, *_BROKER)
    await asyncio.to_thread(bundle.kubectl, "-n", NAMESPACE, *delete)
    bundle.use("network-policy")
    await deploy(bundle)
    await until(180, "none sends to a Broker", _none_sends_to_a_broker, bundle)


def _all_send_to_the_broker(bundle: ClusterBundle) -> bool:
    return _sinks(bundle) == [True] * len(_SENDERS)


def _none_sends_to_a_broker(bundle: ClusterBundle) -> bool:
    return _sinks(bundle) == [False] * len(_SENDERS)


def _sinks(bundle: ClusterBundle) -> list[bool | None]:
    """Whether each sender has the Broker's address; None while a revision is on its way."""
    return [_has_sink(bundle, name) for name in _SENDERS]


def _has_sink(bundle: ClusterBundle, function: str) -> bool | None:
    found = bundle.kubectl("-n", NAMESPACE, "get", "ksvc", function, "-o", "json")
    service = json.loads(found)
    if not state(service, service["metadata"]["generation"]).ready:
        return None
    [container] = service["spec"]["template"]["spec"]["containers"]
    return "K_SINK" in {each["name"] for each in container["env"]}
