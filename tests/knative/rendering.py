"""Any overlay of `knative/`, with any components in it."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from knative.rendering import FOLDER, CannotRender, render, services
from local.keys import SigningKey
from shared.core.json import Json

__all__ = ["FOLDER", "CannotRender", "render", "services"]

KEY = SigningKey.generate("test")
PUBLIC_KEYS = KEY.public_keys


def overlays() -> list[str]:
    return sorted(path.parent.name for path in FOLDER.glob("overlays/*/kustomization.yaml"))


def components() -> list[str]:
    return sorted(path.parent.name for path in FOLDER.glob("components/*/kustomization.yaml"))


@contextmanager
def copied() -> Iterator[Path]:
    """A copy of `knative/` that a test may change, with a project and keys in each overlay instead of the examples."""
    with TemporaryDirectory() as parent:
        folder = shutil.copytree(FOLDER, Path(parent) / "knative")
        for file in folder.glob("overlays/*/settings.env"):
            text = file.read_text().replace('{"keys": []}', PUBLIC_KEYS)
            file.write_text(text.replace("<ref>", "project"))
        yield folder


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
