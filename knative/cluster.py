"""The cluster's API. Only this module uses the client library; all others use plain objects."""

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

from knative.errors import Refused, Unreachable
from shared.core import Json

#: Our field manager: server-side apply records which manager set which field.
_MANAGER = "agent-functions"
_OURS: LabelSelector = {"app.kubernetes.io/part-of": "agent-functions"}
#: What the client raises if a part of the file is missing: it has no error class for that.
_KUBECONFIG_ERRORS = (
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
    """A cluster and a namespace in it. Every method may raise `Refused`, with the cluster's message."""

    def __init__(self, client: Client, namespace: str) -> None:
        self.namespace = namespace
        self._client = client

    @classmethod
    def of(cls, kubeconfig: str | None, context: str | None, namespace: str) -> "Cluster":
        """The cluster of a kubeconfig file: the given one, else KUBECONFIG's, else the home's."""
        path = Path(kubeconfig or os.environ.get("KUBECONFIG") or "~/.kube/config").expanduser()
        if not path.is_file():
            raise Refused(
                f"There is no kubeconfig at {path}. Set KUBECONFIG, or pass --kubeconfig."
            )
        try:
            config = KubeConfig.from_file(path).get(context)
            return cls(Client(config, namespace, httpx2.Timeout(30)), namespace)
        except _KUBECONFIG_ERRORS as error:
            raise Refused(
                f"{path} cannot be used as a kubeconfig: {str(error).rstrip('.')}."
            ) from error

    def apply(self, thing: Json, *, dry_run: bool = False) -> Json:
        """The object as it is after server-side apply, or as it would be."""
        with _explain_errors(f"{thing['kind']} {thing['metadata']['name']}"):
            result = self._client.apply(
                _kind(thing["apiVersion"], thing["kind"], _namespace(thing))(thing),
                field_manager=_MANAGER,
                # Manual changes are in the overlay too, or they are overwritten.
                force=True,
                dry_run=dry_run,
            )
        return dict(result)

    def merge(self, kind: tuple[str, str], name: str, patch: Json) -> Json:
        """The object after a merge patch."""
        with _explain_errors(f"{kind[1]} {name}"):
            result = self._client.patch(
                _kind(*kind, self.namespace),
                name,
                patch,
                namespace=self.namespace,
                patch_type=PatchType.MERGE,
                field_manager=_MANAGER,
            )
        return dict(result)

    def find(self, kind: tuple[str, str], name: str, namespace: str | None) -> Json | None:
        """An object, or None if there is none. Without a namespace: a cluster-wide object."""
        try:
            with _explain_errors(f"{kind[1]} {name}"):
                if namespace:
                    return dict(
                        self._client.get(_kind(*kind, namespace), name, namespace=namespace)
                    )
                return dict(self._client.get(_kind(*kind, None), name))
        except _NotFound:
            return None

    def list(self, kind: tuple[str, str], service: str | None = None) -> list[Json]:
        """The objects of a kind, sorted by name: all of ours, or those of one Service."""
        labels: LabelSelector = {"serving.knative.dev/service": service} if service else _OURS
        with _explain_errors(f"{kind[1]}s"):
            things = self._client.list(
                _kind(*kind, self.namespace), namespace=self.namespace, labels=labels
            )
            return sorted(map(dict, things), key=lambda each: str(each["metadata"]["name"]))

    def log(self, pod: str, container: str, *, follow: bool, lines: int | None) -> Iterator[str]:
        """The lines of a container's log, as they arrive if `follow` is set."""
        with _explain_errors(f"pod {pod}"):
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
def _explain_errors(subject: str) -> Iterator[None]:
    """Raise the client's errors as `Refused`. A cluster's messages never quote a Secret's value; bodies might."""
    try:
        yield
    except ApiError as error:
        status = error.status
        if status.code != 404:
            raise Refused(f"{subject}: {status.message or status.reason}") from error
        if status.details and status.details.name:
            raise _NotFound(f"{subject}: {status.message}") from error
        raise _NotFound(
            f"{subject}: this cluster does not have this kind. Is Knative installed?"
        ) from error
    except httpx2.HTTPStatusError as error:
        code = error.response.status_code
        kind = _NotFound if code == 404 else Refused
        raise kind(f"{subject}: the cluster answers {code}. Is Knative installed?") from error
    except httpx2.HTTPError as error:
        reason = str(error) or type(error).__name__
        raise Unreachable(f"The cluster cannot be reached{_place(error)}: {reason}.") from error


def _place(error: httpx2.HTTPError) -> str:
    """Where a request that failed was sent to."""
    try:
        url = error.request.url
    except RuntimeError:
        return ""
    return f" at {url.scheme}://{url.netloc.decode()}"


@cache
def _kind(version: str, kind: str, namespace: str | None) -> Any:
    """The client's class for a kind. Its own factory has a registry that already contains Kubernetes' kinds."""
    group, _, name = version.rpartition("/")
    base = GenericNamespacedResource if namespace else GenericGlobalResource
    info = ApiInfo(ResourceDef(group, name, kind), _plural(kind), ["get", "list", "patch", "watch"])
    return type(kind, (base,), {"_api_info": info})


def _plural(kind: str) -> str:
    """The plural, by the rule of Kubernetes' own tools."""
    name = kind.lower()
    if name.endswith("y"):
        return name[:-1] + "ies"
    return name + ("es" if name.endswith("s") else "s")


def _namespace(thing: Json) -> str | None:
    namespace = thing["metadata"].get("namespace")
    return str(namespace) if namespace else None
