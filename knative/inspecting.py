"""Talking to what runs: the logs of its pods, and a request to a function."""

import sys
from collections.abc import Sequence
from threading import Thread

import httpx2

from knative.cluster import POD, SERVICE, Cluster
from knative.errors import Refused
from shared.core import Json

#: The function's own; the other container of a pod is Knative's.
_CONTAINER = "function"


def logs(cluster: Cluster, function: str, *, follow: bool, lines: int | None) -> None:
    """Print the log lines of all pods of a function.

    Raises:
        Refused: it has no pod, as when nothing happens.
    """
    pods = [each["metadata"]["name"] for each in cluster.list(POD, function)]
    if not pods:
        raise Refused(f"{function} has no pod: it runs when it is asked something.")
    if not follow:
        for pod in pods:
            _print_log(cluster, pod, follow, lines)
        return
    # Daemons: Ctrl-C ends the command, and no log's end is waited for.
    followers = [Thread(target=_follow, args=(cluster, pod, lines), daemon=True) for pod in pods]
    for each in followers:
        each.start()
    for each in followers:
        each.join()


def _follow(cluster: Cluster, pod: str, lines: int | None) -> None:
    try:
        _print_log(cluster, pod, True, lines)
    except Refused as error:
        # The others go on.
        print(error, file=sys.stderr)


def _print_log(cluster: Cluster, pod: str, follow: bool, lines: int | None) -> None:
    for line in cluster.log(pod, _CONTAINER, follow=follow, lines=lines):
        # One write a line: `print` writes the line's end by itself, and another pod's line may come between.
        sys.stdout.write(f"{pod} {line}\n")
        sys.stdout.flush()


def invoke(
    cluster: Cluster,
    function: str,
    *,
    path: str,
    method: str,
    body: str | None,
    headers: Sequence[str],
    address: str | None,
) -> int:
    """Print the answer of a function as it comes; 1 when its status is an error. `address` is an ingress to go through
    where the function's own name does not resolve: the name is then the Host.

    Raises:
        Refused: there is no such function, or it has no address outside the cluster; or nobody answers.
    """
    url = httpx2.URL(_address(cluster, function))
    given = dict(_header(each) for each in headers)
    if address:
        given["Host"], url = url.host, httpx2.URL(address)
    try:
        # A start from zero, or a run, takes its time to the first byte.
        with httpx2.stream(
            method,
            url.join(path),
            content=body,
            headers=given,
            timeout=httpx2.Timeout(10, read=150),
        ) as response:
            print(f"{response.status_code} {response.reason_phrase}", file=sys.stderr)
            for text in response.iter_text():
                print(text, end="", flush=True)
    except httpx2.HTTPError as error:
        raise Refused(f"{url.join(path)} cannot be reached: {error}") from error
    return 1 if response.is_error else 0


def _address(cluster: Cluster, function: str) -> str:
    service = cluster.find(SERVICE, function, cluster.namespace)
    if not service:
        raise Refused(f"{function!r} is not deployed in {cluster.namespace}.")
    if not is_public(service):
        raise Refused(f"{function} has no address outside the cluster.")
    url = service.get("status", {}).get("url")
    if not url:
        raise Refused(f"{function} has no address yet; `status` says why.")
    return str(url)


def is_public(service: Json) -> bool:
    """Whether it has an address outside the cluster."""
    labels = service["metadata"].get("labels", {})
    return bool(labels.get("networking.knative.dev/visibility") != "cluster-local")


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise Refused("A header is given as 'Name: value'.")
    return name.strip(), value.strip()
