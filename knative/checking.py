"""Checks the settings of an overlay's functions before anything is applied: a wrong one would crash-loop pods."""

import base64
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Protocol

import yaml

from knative.cluster import SECRET
from knative.errors import Refused
from knative.rendering import KIND, containers, services
from shared.core import Json, Settings
from shared.doctor import misspelled, wrong_settings

_CONFIG_MAP = ("v1", "ConfigMap")
_NAME = re.compile(r"[A-Za-z_]\w*")


class Reader(Protocol):
    """What finds objects of a namespace: a cluster, or nothing if there is none."""

    namespace: str

    def find(self, kind: tuple[str, str], name: str, namespace: str | None) -> Json | None:
        """An object, or None if there is none. Raises Refused if it may not be read."""


class NoCluster:
    """Every object may exist, and none can be read."""

    def __init__(self, namespace: str, why: Refused) -> None:
        self.namespace = namespace
        self.why = why

    def find(self, kind: tuple[str, str], name: str, namespace: str | None) -> Json | None:
        raise self.why


@dataclass
class Environment:
    """The environment variables of a container. `origins` says where each value comes from.

    `unknown` are variables whose Secret, or ConfigMap, may not be read.
    """

    values: dict[str, str] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    unknown: set[str] = field(default_factory=set)

    def put(self, name: str, value: str, origin: str) -> None:
        self.values[name] = value
        self.origins[name] = origin
        self.unknown.discard(name)


def check_settings(cluster: Reader, objects: Sequence[Json], folder: Path) -> None:
    """Check what each function of the overlay in `folder` will get, without a network but the cluster's API.

    Raises:
        Refused: a sentence for each wrong setting and each missing Secret.
    """
    sources = Sources(cluster, objects, folder)
    missing = sources.missing()
    wrong: dict[str, list[str]] = {}
    for name, service in services(objects).items():
        for sentence in _wrong(service, sources):
            wrong.setdefault(sentence, []).append(name)
    sentences = [f"{', '.join(names)}: {sentence}" for sentence, names in wrong.items()]
    if missing:
        where = f"missing in {cluster.namespace}; docs/knative.md describes how to create it."
        sentences.insert(0, f"{', '.join(missing)}: {where}")
    if sentences:
        raise Refused("\n".join(sentences))


def remarks(folder: Path) -> list[str]:
    """A sentence for each name in the overlay's files of settings that is no variable's, or resembles a setting."""
    files = dict(_settings_of(folder))
    wrong = {name: f"{name!r} is no variable's name" for name in files if not _NAME.fullmatch(name)}
    return [f"{why} ({files[name]})" for name, why in {**misspelled(files), **wrong}.items()]


def _wrong(service: Json, sources: "Sources") -> Iterator[str]:
    """A sentence for each wrong setting of a Service, with the place to correct it."""
    kind = service["metadata"].get("labels", {}).get(KIND, "")
    for container in service["spec"]["template"]["spec"]["containers"]:
        environment = sources.environment(container)
        for each in wrong_settings(kind, environment.values, environment.unknown):
            origin = environment.origins.get(each.name, sources.settings_file)
            yield f"{each.sentence.removesuffix('.')} ({origin})."


class Sources:
    """Where containers get their variables from: the overlay's own objects, and those of the cluster."""

    def __init__(self, cluster: Reader, objects: Sequence[Json], folder: Path) -> None:
        self._cluster = cluster
        self._objects = objects
        self._own = {(each["kind"], each["metadata"]["name"]): each for each in objects}
        self._found: dict[tuple[str, str], Json | Refused | None] = {}
        self._files = dict(_settings_of(folder))
        #: Where a missing setting belongs.
        self.settings_file = _shown(folder / "settings.env")

    def environment(self, container: Json) -> Environment:
        """The variables of a container. Those of `env` override those of `envFrom`, as in Kubernetes."""
        environment = Environment()
        for source in container.get("envFrom", ()):
            for kind, key in (("ConfigMap", "configMapRef"), ("Secret", "secretRef")):
                if reference := source.get(key):
                    self._put_all(environment, kind, reference["name"], source.get("prefix", ""))
        for variable in container.get("env", ()):
            self._put(environment, variable)
        return environment

    def missing(self) -> list[str]:
        """The missing Secrets, and keys of Secrets, that a function needs; none of those that we may not read."""
        needed: dict[str, set[str]] = {}
        for container in containers(list(services(self._objects).values())):
            for variable in container.get("env", ()):
                key = variable.get("valueFrom", {}).get("secretKeyRef")
                if key and not key.get("optional"):
                    needed.setdefault(key["name"], set()).add(key["key"])
        return [each for name, keys in needed.items() for each in self._missing(name, keys)]

    def _missing(self, name: str, keys: set[str]) -> list[str]:
        try:
            secret = self._find("Secret", name)
        except Refused:
            return []
        if secret is None:
            return [f"Secret {name}"]
        return [f"{key} of Secret {name}" for key in sorted(keys - _data(secret).keys())]

    def _put_all(self, environment: Environment, kind: str, name: str, prefix: str) -> None:
        try:
            thing = self._find(kind, name)
        except Refused:
            names = {each.name.upper() for each in fields(Settings)} - environment.values.keys()
            environment.unknown |= {each for each in names if each.startswith(prefix)}
            return
        for key, value in (_data(thing) if thing else {}).items():
            environment.put(prefix + key, value, self._files.get(key, f"{kind} {name}"))

    def _put(self, environment: Environment, variable: Json) -> None:
        name, source = variable["name"], variable.get("valueFrom", {})
        if "value" in variable:
            environment.put(name, variable["value"], "its value in `env` of the Service")
        for kind, key in (("Secret", "secretKeyRef"), ("ConfigMap", "configMapKeyRef")):
            if reference := source.get(key):
                self._put_one(environment, name, kind, reference)

    def _put_one(self, environment: Environment, name: str, kind: str, reference: Json) -> None:
        try:
            thing = self._find(kind, reference["name"])
        except Refused:
            environment.unknown.add(name)
            return
        key = reference["key"]
        if thing and key in _data(thing):
            environment.put(name, _data(thing)[key], f"{key} of {kind} {reference['name']}")
        elif not reference.get("optional"):
            # `missing` names it.
            environment.unknown.add(name)

    def _find(self, kind: str, name: str) -> Json | None:
        """The object: the overlay's, else the cluster's. Raises Refused if it may not be read."""
        place = (kind, name)
        if place in self._own:
            return self._own[place]
        if place not in self._found:
            self._found[place] = self._read(SECRET if kind == "Secret" else _CONFIG_MAP, name)
        found = self._found[place]
        if isinstance(found, Refused):
            raise found
        return found

    def _read(self, kind: tuple[str, str], name: str) -> Json | Refused | None:
        try:
            return self._cluster.find(kind, name, self._cluster.namespace)
        except Refused as refusal:
            return refusal


def _data(thing: Json) -> dict[str, str]:
    """The keys of a ConfigMap or a Secret, with their texts; bytes that are no UTF-8 as the environment has them."""
    data = thing.get("data") or {}
    if thing["kind"] == "Secret":
        decoded = {key: base64.b64decode(value or "") for key, value in data.items()}
        data = {key: value.decode(errors="surrogateescape") for key, value in decoded.items()}
    return {**data, **(thing.get("stringData") or {})}


def _settings_of(folder: Path) -> Iterator[tuple[str, str]]:
    """The variables of the files of settings that a kustomization reads, with their files; the overlay's come last."""
    kustomization: Mapping[str, Any] = yaml.safe_load((folder / "kustomization.yaml").read_text())
    # A list without entries is null.
    lists = {name: entries or () for name, entries in kustomization.items()}
    for other in (*lists.get("resources", ()), *lists.get("components", ())):
        if (folder / other / "kustomization.yaml").is_file():
            yield from _settings_of((folder / other).resolve())
    for generator in lists.get("configMapGenerator", ()):
        for name in generator.get("envs", ()):
            lines = map(str.strip, (folder / name).read_text().splitlines())
            for line in filter(lambda line: line and line[0] != "#", lines):
                yield line.partition("=")[0].strip(), _shown(folder / name)


def _shown(file: Path) -> str:
    """A file's path, from the working folder if it is below it."""
    path = file.resolve()
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
