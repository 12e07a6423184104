"""The two folders that are applied, as kustomize reads them: the functions, and the world around them."""

from collections.abc import Sequence
from pathlib import Path

import yaml

from shared.core.json import Json
from tests.cluster.choice import NAMESPACE, WORLD, Choice


def write_world(folder: Path, choice: Choice, sql: Sequence[str]) -> None:
    """Postgres, with these files of SQL, and the model."""
    names = (("postgres", choice.postgres_image), ("python", choice.python_image))
    maps = (("postgres-init", ["migrate.sh"]), ("postgres-sql", [*sql]), ("model", ["model.py"]))
    _write(
        folder,
        {
            "kind": "Kustomization",
            "namespace": WORLD,
            "resources": ["world.yaml"],
            "images": [_image(f"{name}-of-the-suite", image) for name, image in names],
            "configMapGenerator": [{"name": name, "files": files} for name, files in maps],
        },
    )


def write_overlay(folder: Path, choice: Choice, components: Sequence[str]) -> None:
    """The functions, with these components of `knative/`."""
    settings = {"name": "backend-configmap", "namespace": NAMESPACE, "behavior": "merge"}
    service = {"group": "serving.knative.dev", "kind": "Service"}
    _write(
        folder,
        {
            "kind": "Kustomization",
            "resources": ["../../base", "to-model.yaml"],
            "components": [f"../../components/{name}" for name in components],
            "images": [_image("agent-functions", choice.image)],
            "configMapGenerator": [{**settings, "envs": ["settings.env"]}],
            "patches": [{"path": "quick.yaml", "target": service}],
        },
    )


def _image(name: str, image: str) -> dict[str, str]:
    # The whole reference is replaced: the names that stand for images have no tag that kustomize could set.
    return {"name": name, "newName": image}


def _write(folder: Path, kustomization: Json) -> None:
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
