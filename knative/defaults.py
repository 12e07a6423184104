"""Values that a cluster writes into objects where a manifest says nothing, so that `diff` shows only what we change.

Knative's are in `pkg/apis/serving/v1/*_defaults.go`, Kubernetes' in the reference of its API.
"""

from typing import Any, Final

from shared.core import Json

#: By the member's name, wherever it is. A value that differs from its default always shows.
_DEFAULTS: Final[dict[str, Any]] = {
    "containerConcurrency": 0,
    "enableServiceLinks": False,
    "failureThreshold": 3,
    "imagePullPolicy": "IfNotPresent",
    "latestRevision": False,
    "periodSeconds": 10,
    "port": 0,
    "protocol": "TCP",
    "resources": {},
    "scheme": "HTTP",
    "successThreshold": 1,
    "terminationMessagePath": "/dev/termination-log",
    "terminationMessagePolicy": "File",
    "timeoutSeconds": 1,
}
#: Annotations that Knative writes.
_ANNOTATIONS: Final = frozenset({"serving.knative.dev/creator", "serving.knative.dev/lastModifier"})


def without_defaults(thing: Any) -> Any:
    """The object without the members that have the value a cluster would give them."""
    if isinstance(thing, list):
        return [without_defaults(each) for each in thing]
    if not isinstance(thing, dict):
        return thing
    return {
        name: without_defaults(value)
        for name, value in thing.items()
        if not _is_default(name, value)
    }


def makes_revision(live: Json, after: Json) -> bool:
    """Whether an applied Service gets a new revision: its template changes."""
    before, then = (without_defaults(each["spec"]["template"]) for each in (live, after))
    return bool(before != then)


def _is_default(name: str, value: Any) -> bool:
    return name in _ANNOTATIONS or (name in _DEFAULTS and _DEFAULTS[name] == value)
