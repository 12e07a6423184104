"""`knative/` as kustomize renders it: any overlay, with any components in it."""

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from local.environment import ROOT
from shared.contracts import Json

FOLDER = ROOT / "knative"
#: Debian's is too old for components.
_KUBECTL = ROOT / ".venv/bin/kubectl"


class CannotRender(Exception):
    """kustomize refused; the message is its own."""


def overlays() -> list[str]:
    return sorted(path.parent.name for path in FOLDER.glob("overlays/*/kustomization.yaml"))


def components() -> list[str]:
    return sorted(path.parent.name for path in FOLDER.glob("components/*/kustomization.yaml"))


def render(folder: Path) -> list[Json]:
    """The objects of a folder with a kustomization.

    Raises:
        CannotRender: it has none, or a wrong one.
    """
    done = subprocess.run([_KUBECTL, "kustomize", folder], capture_output=True, text=True)
    # What is deprecated is said on stderr, with exit code 0.
    if done.returncode or done.stderr:
        raise CannotRender(done.stderr)
    return list(yaml.load_all(done.stdout, yaml.CSafeLoader))


@contextmanager
def copied() -> Iterator[Path]:
    """A copy of `knative/`, to be changed."""
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


def services(objects: Sequence[Json]) -> dict[str, Json]:
    """The Knative Services, by name."""
    return {
        each["metadata"]["name"]: each
        for each in objects
        if each["apiVersion"] == "serving.knative.dev/v1" and each["kind"] == "Service"
    }


def container(service: Json) -> Json:
    """The one container of a Service."""
    [found] = service["spec"]["template"]["spec"]["containers"]
    return found  # type: ignore[no-any-return]  # YAML has no types


def scaling(service: Json) -> dict[str, str]:
    """The autoscaler's annotations of a Service, without their prefix."""
    annotations = service["spec"]["template"]["metadata"]["annotations"]
    prefix = "autoscaling.knative.dev/"
    return {k.removeprefix(prefix): v for k, v in annotations.items() if k.startswith(prefix)}
