"""Logs of a function's pods, and requests to a function."""

import sys
from collections.abc import Sequence
from threading import Thread

import httpx2

from knative.cluster import POD, SERVICE, Cluster
from knative.errors import Refused
from knative.pods import CONTAINER
from shared.core import Json


def logs(cluster: Cluster, function: str, *, follow: bool, lines: int | None) -> None:
    """Print the log lines of all pods of a function.

    Raises:
        Refused: the function is not deployed, or has no pod, because it gets no requests.
    """
    pods = [each["metadata"]["name"] for each in cluster.list(POD, function)]
    if not pods:
        _find(cluster, function)
        raise Refused(f"{function} has no pod now: it is scaled to zero until a request comes.")
    if not follow:
        for pod in pods:
            _print_log(cluster, pod, follow, lines)
        return
    # Daemon threads, so that Ctrl-C ends the command at once.
    followers = [Thread(target=_follow, args=(cluster, pod, lines), daemon=True) for pod in pods]
    for each in followers:
        each.start()
    for each in followers:
        each.join()


def _follow(cluster: Cluster, pod: str, lines: int | None) -> None:
    try:
        _print_log(cluster, pod, True, lines)
    except Refused as error:
        # The logs of the other pods continue.
        print(error, file=sys.stderr)


def _print_log(cluster: Cluster, pod: str, follow: bool, lines: int | None) -> None:
    for line in cluster.log(pod, CONTAINER, follow=follow, lines=lines):
        # One write per line: `print` writes the newline separately, and another pod's line could come between.
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
    """Print the response of a function as it arrives. Returns 1 if its status is an error.

    `address` is an ingress, for a function whose own name does not resolve; the name is then sent as Host.

    Raises:
        Refused: there is no such function, it has no address outside the cluster, or it cannot be reached.
    """
    url = httpx2.URL(_address(cluster, function))
    fields = dict(_header(each) for each in headers)
    if address:
        fields["Host"], url = url.host, httpx2.URL(address)
    try:
        # A cold start or a run can take long before the first byte.
        with httpx2.stream(
            method,
            url.join(path),
            content=body,
            headers=fields,
            timeout=httpx2.Timeout(10, read=150),
        ) as response:
            print(f"{response.status_code} {response.reason_phrase}", file=sys.stderr)
            for text in response.iter_text():
                print(text, end="", flush=True)
    except httpx2.HTTPError as error:
        raise Refused(f"{url.join(path)} cannot be reached: {error}") from error
    return 1 if response.is_error else 0


def _address(cluster: Cluster, function: str) -> str:
    service = _find(cluster, function)
    if not is_public(service):
        raise Refused(f"{function} has no address outside the cluster.")
    url = service.get("status", {}).get("url")
    if not url:
        raise Refused(f"{function} has no address yet; `status` shows why.")
    return str(url)


def _find(cluster: Cluster, function: str) -> Json:
    if service := cluster.find(SERVICE, function, cluster.namespace):
        return service
    raise Refused(f"{function!r} is not deployed in {cluster.namespace}.")


def is_public(service: Json) -> bool:
    """Whether the function has an address outside the cluster."""
    labels = service["metadata"].get("labels", {})
    return bool(labels.get("networking.knative.dev/visibility") != "cluster-local")


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise Refused("A header is given as 'Name: value'.")
    return name.strip(), value.strip()
