"""How many connections to Postgres the pods of all functions open at most."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml

from functions.registry import FunctionList
from knative.errors import Refused
from knative.rendering import FOLDER
from shared.core import Settings

BASE: Final = FOLDER / "base"
_MAX_SCALE: Final = "autoscaling.knative.dev/max-scale"
_CONNECTIONS: Final = "DATABASE_CONNECTIONS"


@dataclass(frozen=True)
class Budget:
    """The most pods of each function, the connections of one pod, and the clients that the database takes."""

    max_scales: Mapping[str, int]
    connections: int
    database_clients: int

    @property
    def used(self) -> int:
        """The connections of all pods together."""
        return sum(self.max_scales.values()) * self.connections

    @property
    def pods_left(self) -> int:
        return max(0, (self.database_clients - self.used) // self.connections)

    def __str__(self) -> str:
        pods = " + ".join(map(str, self.max_scales.values()))
        return (
            f"max-scale ({pods}) x DATABASE_CONNECTIONS ({self.connections}) = {self.used} of "
            f"{self.database_clients} database_clients"
        )


def budget(functions: FunctionList, base: Path = BASE) -> Budget:
    """The budget of these functions' manifests.

    Raises:
        Refused: a manifest is missing, cannot be read, or sets no max-scale.
    """
    max_scales = {name: _max_scale(base / f"{name}.yaml") for name in functions.names}
    lines = (base / "settings.env").read_text().splitlines()
    return Budget(max_scales, _connections(lines), functions.database_clients)


def _max_scale(manifest: Path) -> int:
    try:
        service = yaml.safe_load(manifest.read_text())
        return int(service["spec"]["template"]["metadata"]["annotations"][_MAX_SCALE])
    except PermissionError as error:
        raise Refused(f"knative/base/{manifest.name} cannot be read: {error}.") from None
    except (OSError, KeyError, TypeError, ValueError):
        raise Refused(f"knative/base/{manifest.name} sets no {_MAX_SCALE}.") from None


def _connections(lines: Sequence[str]) -> int:
    values = dict(line.split("=", 1) for line in lines if "=" in line and line[:1] != "#")
    return int(values.get(_CONNECTIONS, Settings().database_connections))
