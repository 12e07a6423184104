"""The cluster's API. The only module that knows the client library, so that all else speaks of plain objects."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import httpx2
from lightkube import ApiError, Client, KubeConfig
from lightkube.core.client import LabelSelector
from lightkube.core.exceptions import ConfigError
from lightkube.core.resource import ApiInfo, ResourceDef
from lightkube.generic_resource import GenericGlobalResource, GenericNamespacedResource
from lightkube.types import PatchType
from yaml import YAMLError

from knative.errors import Refused
from shared.core import Json

#: Who we are to server-side apply, which keeps who set which field.
_MANAGER = "agent-functions"
_OURS: LabelSelector = {"app.kubernetes.io/part-of": "agent-functions"}
#: What the client raises, for want of one error of its own, when a part of the file is missing.
_UNUSABLE = (
    ConfigError,
    KeyError,
    TypeError,
    ValueError,
    AttributeError,
    AssertionError,
    YAMLError,
)
SERVICE = ("serving.knative.dev/v1", "Service")
REVISION = ("serving.knative.dev/v1", "Revision")
POD = ("v1", "Pod")
SECRET = ("v1", "Secret")


class Cluster:
    """A cluster and a namespace in it. Every method may raise `Refused`, with the cluster's own reason."""

    def __init__(self, client: Client, namespace: str) -> None:
        self.namespace = namespace
        self._client = client

    @classmethod
    def of(cls, kubeconfig: str | None, context: str | None, namespace: str) -> "Cluster":
        """The cluster of a kubeconfig file: the given one, else KUBECONFIG's, else the home's."""
        path = Path(kubeconfig or os.environ.get("KUBECONFIG") or "~/.kube/config").expanduser()
        if not path.is_file():
            raise Refused(
                f"No cluster is chosen: {path} is not there. Set KUBECONFIG, or pass --kubeconfig."
            )
        try:
            config = KubeConfig.from_file(path).get(context)
            return cls(Client(config, namespace, httpx2.Timeout(30)), namespace)
        except _UNUSABLE as error:
            raise Refused(f"{path} cannot be used as a kubeconfig: {error}") from error

    def apply(self, thing: Json, *, dry_run: bool = False) -> Json:
        """The object as it is after server-side apply, or as it would be."""
        with _explained(f"{thing['kind']} {thing['metadata']['name']}"):
            made = self._client.apply(
                _kind(thing["apiVersion"], thing["kind"], _namespace(thing))(thing),
                field_manager=_MANAGER,
                # What somebody changed by hand is in the overlay, or is taken back.
                force=True,
                dry_run=dry_run,
            )
        return dict(made)

    def merge(self, kind: tuple[str, str], name: str, patch: Json) -> Json:
        """The object after a merge patch."""
        with _explained(f"{kind[1]} {name}"):
            made = self._client.patch(
                _kind(*kind, self.namespace),
                name,
                patch,
                namespace=self.namespace,
                patch_type=PatchType.MERGE,
                field_manager=_MANAGER,
            )
        return dict(made)

    def find(self, kind: tuple[str, str], name: str, namespace: str | None) -> Json | None:
        """An object, or None where there is none. Without a namespace it is one of the whole cluster."""
        try:
            with _explained(f"{kind[1]} {name}"):
                if namespace:
                    return dict(
                        self._client.get(_kind(*kind, namespace), name, namespace=namespace)
                    )
                return dict(self._client.get(_kind(*kind, None), name))
        except _NotFound:
            return None

    def list(self, kind: tuple[str, str], service: str | None = None) -> list[Json]:
        """The objects of a kind, by name: all of the bundle's, or a Service's."""
        labels: LabelSelector = {"serving.knative.dev/service": service} if service else _OURS
        with _explained(f"{kind[1]}s"):
            found = self._client.list(
                _kind(*kind, self.namespace), namespace=self.namespace, labels=labels
            )
            return sorted(map(dict, found), key=lambda each: str(each["metadata"]["name"]))

    def log(self, pod: str, container: str, *, follow: bool, lines: int | None) -> Iterator[str]:
        """The lines of a container's log, as they come if they are followed."""
        with _explained(f"pod {pod}"):
            yield from self._client.log(
                pod,
                namespace=self.namespace,
                container=container,
                follow=follow,
                tail_lines=lines,
                newlines=False,
            )


class _NotFound(Refused):
    """There is no such object, or no such kind."""


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """The client's errors as sentences. A cluster's never quote a value of a Secret; its answers' bodies might."""
    try:
        yield
    except ApiError as error:
        status = error.status
        if status.code != 404:
            raise Refused(f"{what}: {status.message or status.reason}") from error
        if status.details and status.details.name:
            raise _NotFound(f"{what}: {status.message}") from error
        raise _NotFound(
            f"{what}: this cluster does not know its kind. Is Knative installed?"
        ) from error
    except httpx2.HTTPStatusError as error:
        code = error.response.status_code
        kind = _NotFound if code == 404 else Refused
        raise kind(f"{what}: the cluster answers {code}. Is Knative installed?") from error
    except httpx2.HTTPError as error:
        said = str(error) or type(error).__name__
        raise Refused(f"The cluster cannot be reached: {said}") from error


@cache
def _kind(version: str, kind: str, namespace: str | None) -> Any:
    """The client's class for a kind. Its own maker keeps a registry, in which Kubernetes' kinds are already."""
    group, _, name = version.rpartition("/")
    base = GenericNamespacedResource if namespace else GenericGlobalResource
    info = ApiInfo(ResourceDef(group, name, kind), _plural(kind), ["get", "list", "patch", "watch"])
    return type(kind, (base,), {"_api_info": info})


def _plural(kind: str) -> str:
    """As Kubernetes' own tools guess it."""
    name = kind.lower()
    if name.endswith("y"):
        return name[:-1] + "ies"
    return name + ("es" if name.endswith("s") else "s")


def _namespace(thing: Json) -> str | None:
    found = thing["metadata"].get("namespace")
    return str(found) if found else None
