"""Deploy an overlay, and move traffic between revisions."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from knative import traffic
from knative.cluster import SERVICE, Cluster
from knative.defaults import makes_revision
from knative.errors import Refused
from knative.inspecting import is_public
from knative.rendering import is_runner, render, services, use_image
from knative.rollout import Progress, wait
from shared.core import Json

#: Why `runner` changes before all other functions, and returns after them.
_WHY_FIRST = "it executes runs of every function, and so must know the newest agents"


def render_overlay(folder: Path, image: str | None) -> list[Json]:
    """The objects of an overlay, with `image` instead of its own if given.

    Raises:
        Refused: the overlay cannot be rendered, or has no function.
    """
    objects = render(folder)
    if not services(objects):
        raise Refused(f"{folder} has no Knative Service.")
    if image:
        use_image(objects, image)
    return objects


def prepare(cluster: Cluster, objects: Sequence[Json], canary: int | None) -> dict[str, list[Json]]:
    """Write into each Service its traffic until the new revision is ready, and the revision that served before.

    Returns the traffic after that, by name, of the Services where it differs.
    """
    later = {}
    for name, service in services(objects).items():
        live = cluster.find(SERVICE, name, cluster.namespace)
        share = None if is_runner(service) else canary
        service["spec"]["traffic"] = traffic.until_ready(live, share)
        final = traffic.split(live, share)
        if final != service["spec"]["traffic"]:
            later[name] = final
        if before := _served_before(cluster, live, service):
            annotations = service["metadata"].setdefault("annotations", {})
            annotations[traffic.SERVED_BEFORE] = before
    return later


def _served_before(cluster: Cluster, live: Json | None, service: Json) -> str | None:
    """The revision that `rollback` returns to: the one that serves now, unless this deploy makes no new one."""
    if not live or makes_revision(live, cluster.apply(service, dry_run=True)):
        return traffic.serving(live)
    before: str | None = live["metadata"].get("annotations", {}).get(traffic.SERVED_BEFORE)
    return before


def deploy(
    cluster: Cluster, objects: Sequence[Json], *, canary: int | None, seconds: float
) -> None:
    """Apply all objects and wait until every function is ready; print where they are. `runner` is first.

    Raises:
        Refused: the cluster rejected an object, or a function failed; its traffic stays with the previous revision.
    """
    if canary and any(map(is_runner, services(objects).values())):
        print(f"runner: all traffic at once, without a canary, because {_WHY_FIRST}.", flush=True)
    later = prepare(cluster, objects, canary)
    _mark_serving(cluster, objects)
    live: dict[str, Json] = {}
    for step in _in_order(objects):
        results = [cluster.apply(each) for each in step]
        print(f"applied {len(results)} objects to {cluster.namespace}", flush=True)
        live |= _wait_until_settled(cluster, services(results), seconds)
        if blocks := {name: block for name, block in later.items() if name in services(results)}:
            _move(cluster, blocks, seconds)
    for line in addresses(dict(sorted(live.items())), objects):
        print(line)


def _mark_serving(cluster: Cluster, objects: Sequence[Json]) -> None:
    """Write into each live Service which revision serves now: `rollback` needs it, also if this deploy stops early."""
    for name, service in services(objects).items():
        if before := service["metadata"].get("annotations", {}).get(traffic.SERVED_BEFORE):
            annotations = {traffic.SERVED_BEFORE: before}
            cluster.merge(SERVICE, name, {"metadata": {"annotations": annotations}})


def _in_order(objects: Sequence[Json]) -> list[list[Json]]:
    """The objects in two steps: `runner` and what is no Service, then the Services of all other functions."""
    others = [each for each in services(objects).values() if not is_runner(each)]
    # kustomize puts the namespace first.
    return [[each for each in objects if each not in others], others]


def promote(cluster: Cluster, functions: Sequence[str], seconds: float) -> None:
    """Send all traffic to the latest revision."""
    blocks = {n: traffic.to_latest(each) for n, each in _find_services(cluster, functions).items()}
    _move(cluster, blocks, seconds)


def roll_back(cluster: Cluster, functions: Sequence[str], to: str | None, seconds: float) -> None:
    """Send all traffic to the revision that served before the last deploy, or to the named one. `runner` is last."""
    if to and len(functions) != 1:
        raise Refused("--to is a revision of one function: name that function too.")
    live = _find_services(cluster, functions)
    blocks = {name: traffic.to_previous(each, to) for name, each in live.items()}
    for is_last in (False, True):
        step = {name: block for name, block in blocks.items() if is_runner(live[name]) == is_last}
        _move(cluster, step, seconds)


def _find_services(cluster: Cluster, functions: Sequence[str]) -> dict[str, Json]:
    live = {each["metadata"]["name"]: each for each in cluster.list(SERVICE)}
    if unknown := set(functions) - live.keys():
        raise Refused(f"{', '.join(sorted(unknown))}: not deployed in {cluster.namespace}.")
    if not live:
        raise Refused(f"Nothing is deployed in {cluster.namespace}.")
    return {name: each for name, each in live.items() if not functions or name in functions}


def _move(cluster: Cluster, blocks: Mapping[str, list[Json]], seconds: float) -> None:
    # The caller has computed all blocks by now, so an error for one function moves no traffic of another.
    patched = {
        name: cluster.merge(SERVICE, name, {"spec": {"traffic": block}})
        for name, block in blocks.items()
    }
    # Not Ready: a failed revision keeps that false, whichever revision serves.
    for name, service in _wait_until_settled(cluster, patched, seconds, "RoutesReady").items():
        print(f"{name}: {traffic.summary(service)}")


def _wait_until_settled(
    cluster: Cluster, live: Mapping[str, Json], seconds: float, condition: str = "Ready"
) -> dict[str, Json]:
    generations = {name: each["metadata"]["generation"] for name, each in live.items()}
    if not generations:
        return {}
    progress = Progress(sys.stdout)
    return wait(cluster, generations, progress, seconds=seconds, condition=condition)


def addresses(live: Mapping[str, Json], objects: Sequence[Json]) -> list[str]:
    """A line for each function, and the value of the gateway's FASTAPI_ORIGIN_URL."""
    domains = {
        each["spec"]["ref"]["name"]: f"https://{each['metadata']['name']}"
        for each in objects
        if each["kind"] == "DomainMapping"
    }
    public = {
        name: domains.get(name, each["status"].get("url", ""))
        for name, each in live.items()
        if is_public(each)
    }
    lines = [f"{name:<10} {public.get(name, 'inside the cluster only')}" for name in live]
    origins = {url.replace(f"//{name}.", "//{function}.", 1) for name, url in public.items()}
    if len(origins) == 1:
        return [*lines, f"FASTAPI_ORIGIN_URL={origins.pop()}"]
    return [
        *lines,
        "FASTAPI_ORIGIN_URL: these addresses do not differ by the function's name alone",
    ]
