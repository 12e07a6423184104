"""What `deploy` would change, asked of the cluster itself: server-side apply, dry."""

from collections.abc import Iterator, Sequence
from difflib import unified_diff

import yaml

from knative.cluster import Cluster
from shared.core import Json

#: What a cluster writes about an object, and no overlay does.
_KEPT_BY_CLUSTER = ("creationTimestamp", "generation", "managedFields", "resourceVersion", "uid")
_HIDDEN = "(hidden)"
#: kubectl keeps the whole object in it, a Secret's values too.
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def differences(cluster: Cluster, objects: Sequence[Json]) -> Iterator[str]:
    """For each object that would change, its name and a unified diff. A Secret's values are never in it."""
    known: set[str] = set()
    for thing in objects:
        metadata = thing["metadata"]
        space = metadata.get("namespace")
        kind = (thing["apiVersion"], thing["kind"])
        live = cluster.find(kind, metadata["name"], space)
        if live is None and thing["kind"] == "Namespace":
            known.add(metadata["name"])
        # Nothing can be applied, not even dry, in a namespace that is not there.
        after = thing if space in known else cluster.apply(thing, dry_run=True)
        before, after = _without_secrets(live, after)
        lines = list(unified_diff(_lines(before), _lines(after), "live", "deployed", lineterm=""))
        if lines:
            yield "\n".join([f"{thing['kind']} {metadata['name']}", *lines])


def _without_secrets(live: Json | None, after: Json) -> tuple[Json | None, Json]:
    """Both; of a Secret without its values: only whether one is another is left."""
    if after["kind"] != "Secret":
        return live, after
    before, shown = dict(live) if live else None, dict(after)
    for field in ("data", "stringData"):
        old = (live or {}).get(field) or {}
        if before and old:
            before[field] = dict.fromkeys(old, _HIDDEN)
        if new := after.get(field):
            same = {key: old.get(key) == value for key, value in new.items()}
            shown[field] = {key: _HIDDEN if same[key] else f"{_HIDDEN}, another one" for key in new}
    return before, shown


def _lines(thing: Json | None) -> list[str]:
    if thing is None:
        return []
    shown = {key: value for key, value in thing.items() if key != "status"}
    shown["metadata"] = {k: v for k, v in thing["metadata"].items() if k not in _KEPT_BY_CLUSTER}
    if annotations := shown["metadata"].get("annotations"):
        kept = {key: value for key, value in annotations.items() if key != _LAST_APPLIED}
        shown["metadata"]["annotations"] = kept
    return yaml.safe_dump(shown, sort_keys=True, width=1000).splitlines()
