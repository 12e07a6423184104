"""What `deploy` would change: the result of a server-side apply as a dry run."""

from collections.abc import Iterator, Sequence
from difflib import unified_diff

import yaml

from knative.cluster import Cluster
from knative.defaults import without_defaults
from shared.core import Json

#: Metadata that the cluster writes, and no overlay.
_SET_BY_CLUSTER = ("creationTimestamp", "generation", "managedFields", "resourceVersion", "uid")
_HIDDEN = "(hidden)"
#: kubectl stores the whole object in it, with a Secret's values.
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def differences(cluster: Cluster, objects: Sequence[Json]) -> Iterator[str]:
    """For each object that would change, its name and a unified diff. It never contains a Secret's values."""
    new_namespaces: set[str] = set()
    for thing in objects:
        metadata = thing["metadata"]
        space = metadata.get("namespace")
        kind = (thing["apiVersion"], thing["kind"])
        live = cluster.find(kind, metadata["name"], space)
        if live is None and thing["kind"] == "Namespace":
            new_namespaces.add(metadata["name"])
        # A dry run also fails in a namespace that does not exist yet.
        after = thing if space in new_namespaces else cluster.apply(thing, dry_run=True)
        before, after = map(without_defaults, _without_secrets(live, after))
        lines = list(unified_diff(_lines(before), _lines(after), "live", "deployed", lineterm=""))
        if lines:
            yield "\n".join([f"{thing['kind']} {metadata['name']}", *lines])


def _without_secrets(live: Json | None, after: Json) -> tuple[Json | None, Json]:
    """Both objects; of a Secret, the values are replaced by whether they differ."""
    if after["kind"] != "Secret":
        return live, after
    before, result = dict(live) if live else None, dict(after)
    for field in ("data", "stringData"):
        old = (live or {}).get(field) or {}
        if before and old:
            before[field] = dict.fromkeys(old, _HIDDEN)
        if new := after.get(field):
            same = {key: old.get(key) == value for key, value in new.items()}
            result[field] = {key: _HIDDEN if same[key] else f"{_HIDDEN}, changed" for key in new}
    return before, result


def _lines(thing: Json | None) -> list[str]:
    if thing is None:
        return []
    content = {key: value for key, value in thing.items() if key != "status"}
    content["metadata"] = {k: v for k, v in thing["metadata"].items() if k not in _SET_BY_CLUSTER}
    if annotations := content["metadata"].get("annotations"):
        readable = {key: value for key, value in annotations.items() if key != _LAST_APPLIED}
        content["metadata"]["annotations"] = readable
    return yaml.safe_dump(content, sort_keys=True, width=1000).splitlines()
