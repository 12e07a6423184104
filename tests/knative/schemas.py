"""The checks of a cluster: Kubernetes' and Knative's schemas, and a list of the annotations that they leave open."""

import importlib
import json
import re
import warnings
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ValidationError

from shared.core.json import Json

_MODELS = "cloudcoil.models"
#: Fields that Knative reads, and leaves open in its schemas.
_OPEN = {".spec.delivery.timeout"}
_SECONDS = re.compile(r"\d+s")
_NUMBER = re.compile(r"-?\d+")
#: Annotations are free text to a schema: a misspelled name is no error for the cluster.
_ANNOTATIONS = {
    "autoscaling.knative.dev/class": re.compile(r"kpa\.autoscaling\.knative\.dev"),
    "autoscaling.knative.dev/metric": re.compile(r"concurrency|rps"),
    "autoscaling.knative.dev/target": _NUMBER,
    "autoscaling.knative.dev/target-utilization-percentage": _NUMBER,
    "autoscaling.knative.dev/target-burst-capacity": _NUMBER,
    "autoscaling.knative.dev/min-scale": _NUMBER,
    "autoscaling.knative.dev/max-scale": _NUMBER,
    "autoscaling.knative.dev/initial-scale": _NUMBER,
    "autoscaling.knative.dev/window": _SECONDS,
    "autoscaling.knative.dev/scale-down-delay": _SECONDS,
    "autoscaling.knative.dev/scale-to-zero-pod-retention-period": _SECONDS,
    "serving.knative.dev/rollout-duration": _SECONDS,
}


def faults(manifest: Json) -> list[str]:
    """The faults of an object: unknown fields, values of another type, unknown annotations."""
    try:
        kept = _model(manifest).model_validate_json(json.dumps(manifest), strict=True)
    except ValidationError as error:
        return [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
    known = kept.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return [*_differences("", manifest, known), *_annotations(manifest)]


def _model(manifest: Json) -> type[BaseModel]:
    group, _, version = manifest["apiVersion"].rpartition("/")
    name = group.partition(".")[0] or "core"
    package = "kubernetes"
    if group.endswith(".knative.dev"):
        package = "knative_serving" if name == "serving" else "knative_eventing"
    with warnings.catch_warnings():
        # Names of their fields shadow names of their base class.
        warnings.simplefilter("ignore", UserWarning)
        module: Any = importlib.import_module(f"{_MODELS}.{package}.{name}.{version}")
    found: type[BaseModel] = getattr(module, manifest["kind"])
    return found


def _differences(place: str, written: object, known: object) -> Iterator[str]:
    """The members that a schema dropped or changed."""
    match written, known:
        case dict(), dict():
            for name, value in written.items():
                if name in known:
                    yield from _differences(f"{place}.{name}", value, known[name])
                elif f"{place}.{name}" not in _OPEN:
                    yield f"{place}.{name}: there is no such field"
        case list(), list() if len(written) == len(known):
            for at, (one, other) in enumerate(zip(written, known, strict=True)):
                yield from _differences(f"{place}[{at}]", one, other)
        case _ if written != known or type(written) is not type(known):
            yield f"{place}: {written!r} is read as {known!r}"


def _annotations(manifest: Json) -> Iterator[str]:
    template = manifest.get("spec", {}).get("template", {})
    for holder in (manifest, template):
        for name, value in holder.get("metadata", {}).get("annotations", {}).items():
            if name not in _ANNOTATIONS:
                yield f"{name}: this annotation is unknown"
            elif not _ANNOTATIONS[name].fullmatch(value):
                yield f"{name}: {value!r} is no value for it"
