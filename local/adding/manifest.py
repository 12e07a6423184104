"""What was added to an app: a small file beside its gateway. An upgrade compares the app's files with it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Final, Self

from local.adding.app import GATEWAY, App, CannotAdd

NAME: Final = "shipped.json"


@dataclass(frozen=True)
class Manifest:
    """The fingerprints of the files as they were added: migrations by their name, the gateway's by their path."""

    migrations: Mapping[str, str] = field(default_factory=dict)
    gateway: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, app: App) -> Self | None:
        """The app's manifest; None if nothing was added yet.

        Raises:
            CannotAdd: it is not a manifest.
        """
        file = app.gateway / NAME
        if not file.exists():
            return None
        try:
            content = json.loads(file.read_bytes())
            manifest = cls(dict(content["migrations"]), dict(content["gateway"]))
            if not all(map(_stays_below, manifest.gateway)):
                raise ValueError("a path leads out of the gateway's folder")
            return manifest
        except (ValueError, KeyError, TypeError):
            raise CannotAdd(
                f"{GATEWAY}/{NAME} was damaged; restore it from the app's repository."
            ) from None

    def to_bytes(self) -> bytes:
        content = {"migrations": dict(self.migrations), "gateway": dict(self.gateway)}
        return json.dumps(content, indent=2).encode() + b"\n"


def _stays_below(path: str) -> bool:
    """Whether a path leads to no place outside its folder: an upgrade may remove the files of the manifest."""
    return not PurePath(path).anchor and ".." not in PurePath(path).parts
