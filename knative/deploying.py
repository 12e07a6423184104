"""From an overlay to Services that answer, and from one revision to another."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from knative import traffic
from knative.cluster import SECRET, SERVICE, Cluster
from knative.errors import Refused
from knative.inspecting import is_public
from knative.rendering import containers, render, services, use_image
from knative.rollout import Progress, wait
from shared.core import Json


def rendered(folder: Path, image: str | None) -> list[Json]:
    """The objects of an overlay, with another image where one is given.

    Raises:
        Refused: it cannot be rendered, or has no function.
    """
    objects = render(folder)
    if not services(objects):
        raise Refused(f"{folder} has no Knative Service.")
    if image:
        use_image(objects, image)
    return objects


def prepare(cluster: Cluster, objects: Sequence[Json], canary: int | None) -> dict[str, list[Json]]:
    """Say in each Service where its traffic goes until the new revision is ready, and what served before.

    Returns where it goes then, by the names of those that have to be told.
    """
    then = {}
    for name, service in services(objects).items():
        live = cluster.find(SERVICE, name, cluster.namespace)
        service["spec"]["traffic"] = traffic.held(live, canary)
        wanted = traffic.split(live, canary)
        if wanted != service["spec"]["traffic"]:
            then[name] = wanted
        if before := traffic.serving(live):
            annotations = service["metadata"].setdefault("annotations", {})
            annotations[traffic.SERVED_BEFORE] = before
    return then


def deploy(
    cluster: Cluster, objects: Sequence[Json], *, canary: int | None, seconds: float
) -> None:
    """Apply all objects and wait until every function is ready; print where they are.

    Raises:
        Refused: the cluster took an object not, or a function failed: what served before still has its traffic.
    """
    if missing := _missing_secrets(cluster, objects):
        # Knative would wait for them until a revision's time is over.
        raise Refused(
            f"{', '.join(missing)}: missing in {cluster.namespace}; docs/knative.md says how to make it."
        )
    then = prepare(cluster, objects, canary)
    # The namespace stands first, as kustomize orders them.
    applied = [cluster.apply(each) for each in objects]
    print(f"applied {len(applied)} objects to {cluster.namespace}", flush=True)
    found = _settled(cluster, services(applied), seconds)
    if then:
        _move(cluster, then, seconds)
    for line in addresses(found, objects):
        print(line)


def _missing_secrets(cluster: Cluster, objects: Sequence[Json]) -> list[str]:
    """Secrets, or keys of them, that a function cannot start without; none where we may not look."""
    made = {each["metadata"]["name"] for each in objects if each["kind"] == "Secret"}
    needed: dict[str, set[str]] = {}
    for container in containers(list(services(objects).values())):
        for variable in container.get("env", ()):
            key = variable.get("valueFrom", {}).get("secretKeyRef")
            if key and not key.get("optional") and key["name"] not in made:
                needed.setdefault(key["name"], set()).add(key["key"])
    return [each for name, keys in needed.items() for each in _missing(cluster, name, keys)]


def _missing(cluster: Cluster, name: str, keys: set[str]) -> list[str]:
    try:
        secret = cluster.find(SECRET, name, cluster.namespace)
    except Refused:
        return []
    if secret is None:
        return [f"Secret {name}"]
    return [f"{key} of Secret {name}" for key in sorted(keys - secret.get("data", {}).keys())]


def promote(cluster: Cluster, functions: Sequence[str], seconds: float) -> None:
    """Give the latest revision all of the traffic."""
    blocks = {n: traffic.promoted(each) for n, each in _chosen(cluster, functions).items()}
    _move(cluster, blocks, seconds)


def roll_back(cluster: Cluster, functions: Sequence[str], to: str | None, seconds: float) -> None:
    """Give all of the traffic to what served before the last deploy, or to a revision by its name."""
    if to and len(functions) != 1:
        raise Refused("--to is a revision of one function: name that function, too.")
    chosen = _chosen(cluster, functions)
    _move(cluster, {n: traffic.rolled_back(each, to) for n, each in chosen.items()}, seconds)


def _chosen(cluster: Cluster, functions: Sequence[str]) -> dict[str, Json]:
    found = {each["metadata"]["name"]: each for each in cluster.list(SERVICE)}
    if unknown := set(functions) - found.keys():
        raise Refused(f"{', '.join(sorted(unknown))}: not deployed in {cluster.namespace}.")
    if not found:
        raise Refused(f"Nothing is deployed in {cluster.namespace}.")
    return {name: each for name, each in found.items() if not functions or name in functions}


def _move(cluster: Cluster, blocks: Mapping[str, list[Json]], seconds: float) -> None:
    # All were made before any is sent, so that what one function refuses moves no other.
    moved = {
        name: cluster.merge(SERVICE, name, {"spec": {"traffic": block}})
        for name, block in blocks.items()
    }
    # Not Ready, which a revision that failed keeps false whatever serves.
    for name, service in _settled(cluster, moved, seconds, "RoutesReady").items():
        print(f"{name}: {traffic.told(service)}")


def _settled(
    cluster: Cluster, changed: Mapping[str, Json], seconds: float, condition: str = "Ready"
) -> dict[str, Json]:
    generations = {name: each["metadata"]["generation"] for name, each in changed.items()}
    progress = Progress(sys.stdout)
    return wait(cluster, generations, progress, seconds=seconds, condition=condition)


def addresses(found: Mapping[str, Json], objects: Sequence[Json]) -> list[str]:
    """A line for each function, and what the gateway's FASTAPI_ORIGIN_URL must be."""
    own = {
        each["spec"]["ref"]["name"]: f"https://{each['metadata']['name']}"
        for each in objects
        if each["kind"] == "DomainMapping"
    }
    public = {
        name: own.get(name, each["status"].get("url", ""))
        for name, each in found.items()
        if is_public(each)
    }
    lines = [f"{name:<10} {public.get(name, 'inside the cluster only')}" for name in found]
    origins = {url.replace(name, "{function}", 1) for name, url in public.items()}
    if len(origins) == 1:
        return [*lines, f"FASTAPI_ORIGIN_URL={origins.pop()}"]
    return [
        *lines,
        "FASTAPI_ORIGIN_URL: these addresses do not differ by the function's name alone",
    ]
