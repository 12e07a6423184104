"""Render overlays with kustomize."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from knative.errors import Refused
from shared.core import Json

FOLDER = Path(__file__).parent
#: The label of each Service with the function's kind, as functions/functions.json has it.
KIND = "agent-functions/kind"
#: Not `latest`, and not without a tag: different builds would share one name, and revisions would change.
_SINGLE_BUILD = re.compile(r"^[^\s@]+(@sha256:[0-9a-f]{64}|:(?!latest$)[\w][\w.-]{0,127})$")


class CannotRender(Refused):
    """kustomize failed; the message is its own."""


def render(folder: Path) -> list[Json]:
    """The objects of a folder with a kustomization.

    Raises:
        CannotRender: the kustomization is missing or wrong; or there is no kubectl.
    """
    process = subprocess.run([_kubectl(), "kustomize", folder], capture_output=True, text=True)
    # kustomize reports deprecations on stderr, with exit code 0.
    if process.returncode or process.stderr:
        raise CannotRender(process.stderr.strip())
    return list(yaml.load_all(process.stdout, yaml.CSafeLoader))


def _kubectl() -> str:
    """kubectl of the wheel, beside this Python: Debian's is too old for components."""
    path = shutil.which("kubectl", path=str(Path(sys.executable).parent)) or shutil.which("kubectl")
    if not path:
        raise CannotRender("kubectl is not installed: `make bootstrap`, or pip install kubectl.")
    return path


def overlay(name_or_folder: str) -> Path:
    """The folder of one of our overlays, or of any other.

    Raises:
        Refused: neither exists.
    """
    for folder in (FOLDER / "overlays" / name_or_folder, Path(name_or_folder)):
        if (folder / "kustomization.yaml").is_file():
            return folder
    ours = ", ".join(sorted(path.name for path in (FOLDER / "overlays").iterdir()))
    raise Refused(f"{name_or_folder!r} is no overlay: {ours}, or a folder of your own.")


def services(objects: Sequence[Json]) -> dict[str, Json]:
    """The Knative Services by name."""
    return {
        each["metadata"]["name"]: each
        for each in objects
        if each["apiVersion"] == "serving.knative.dev/v1" and each["kind"] == "Service"
    }


def is_runner(service: Json) -> bool:
    """Whether a Service is the function that executes the waiting runs of all agents."""
    return bool(service["metadata"].get("labels", {}).get(KIND) == "runner")


def use_image(objects: Sequence[Json], image: str) -> None:
    """Set the image of all our containers.

    Raises:
        Refused: the image names no single build.
    """
    if not _SINGLE_BUILD.match(image):
        raise Refused(f"{image!r} names no single build: give it a digest, or a tag of its own.")
    ours = {each["image"] for one in services(objects).values() for each in containers(one)}
    for each in containers(list(objects)):
        if each["image"] in ours:
            each["image"] = image


def containers(value: Any) -> Iterator[Json]:
    """All containers of an object of any kind."""
    if isinstance(value, dict):
        yield from value.get("containers", ())
        value = list(value.values())
    for each in value if isinstance(value, list) else ():
        yield from containers(each)
