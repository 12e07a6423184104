"""Any overlay of `knative/`, with any components in it."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from knative.rendering import FOLDER, CannotRender, render, services
from shared.core.json import Json

__all__ = ["FOLDER", "CannotRender", "render", "services"]


def overlays() -> list[str]:
    return sorted(path.parent.name for path in FOLDER.glob("overlays/*/kustomization.yaml"))


def components() -> list[str]:
    return sorted(path.parent.name for path in FOLDER.glob("components/*/kustomization.yaml"))


@contextmanager
def copied() -> Iterator[Path]:
    """A copy of `knative/` that a test may change."""
    with TemporaryDirectory() as parent:
        yield shutil.copytree(FOLDER, Path(parent) / "knative")


def combine(folder: Path, overlay: str, chosen: Sequence[str]) -> Path:
    """An overlay of a copy with these components, listed where a person would list them."""
    made = folder / "overlays" / "-".join((overlay, *chosen, "only"))
    shutil.copytree(folder / "overlays" / overlay, made)
    path = made / "kustomization.yaml"
    kustomization = yaml.safe_load(path.read_text())
    kustomization["components"] = [f"../../components/{name}" for name in chosen]
    path.write_text(yaml.safe_dump(kustomization))
    return made


def container(service: Json) -> Json:
    """The one container of a Service."""
    [found] = service["spec"]["template"]["spec"]["containers"]
    return found  # type: ignore[no-any-return]  # YAML has no types


def scaling(service: Json) -> dict[str, str]:
    """The autoscaler's annotations of a Service, without their prefix."""
    annotations = service["spec"]["template"]["metadata"]["annotations"]
    prefix = "autoscaling.knative.dev/"
    return {k.removeprefix(prefix): v for k, v in annotations.items() if k.startswith(prefix)}
