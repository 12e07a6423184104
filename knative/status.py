"""What is deployed: a row for each revision that has traffic or is the newest."""

from collections.abc import Iterator, Sequence

from knative.cluster import REVISION, SERVICE, Cluster
from knative.pods import trouble_of
from knative.rollout import State, newest, state
from knative.traffic import shares
from shared.core import Json

_COLUMNS = {
    "service": "service",
    "revision": "revision",
    "ready": "ready",
    "replicas": "replicas",
    "traffic": "traffic",
    "concurrency": "concurrency",
    "error": "last error",
}


def rows(cluster: Cluster) -> list[dict[str, str]]:
    """Rows by service, newest revision first. `replicas`: actual/desired. `concurrency`: the autoscaler's target/the
    limit of a pod."""
    return [row for service in cluster.list(SERVICE) for row in _rows(cluster, service)]


def table(records: Sequence[dict[str, str]]) -> str:
    """The rows as text, in columns."""
    all_rows = [_COLUMNS, *records]
    widths = {key: max(len(row[key]) for row in all_rows) for key in _COLUMNS}
    lines = [
        "  ".join(row[key].ljust(widths[key]) for key in _COLUMNS).rstrip() for row in all_rows
    ]
    return "\n".join(lines)


def _rows(cluster: Cluster, service: Json) -> Iterator[dict[str, str]]:
    name, traffic, last = service["metadata"]["name"], shares(service), newest(service)
    by_name = {each["metadata"]["name"]: each for each in cluster.list(REVISION, name)}
    names = [each for each in sorted(by_name, reverse=True) if each in traffic or each == last]
    if not names:
        yield _row(cluster, name, "-", service, "")
    for each in names:
        yield _row(cluster, name, each, by_name[each], f"{traffic.get(each, 0)}%")


def _row(
    cluster: Cluster, service: str, revision: str, thing: Json, traffic: str
) -> dict[str, str]:
    now = state(thing)
    return {
        "service": service,
        "revision": revision,
        "ready": {True: "yes", False: "no", None: "..."}[now.ready],
        "replicas": _replicas(thing.get("status", {})),
        "traffic": traffic,
        "concurrency": _concurrency(thing),
        "error": "" if now.ready else _error(cluster, service, revision, now),
    }


def _error(cluster: Cluster, service: str, revision: str, now: State) -> str:
    """Why a revision is not ready: what its container does, else Knative's message about a failure."""
    trouble = trouble_of(cluster, service, revision)
    if trouble:
        return f"{trouble.text}; {trouble.exits} exits" if trouble.exits > 1 else trouble.text
    return now.message if now.ready is False else ""


def _replicas(status: Json) -> str:
    return f"{status.get('actualReplicas', 0)}/{status.get('desiredReplicas', 0)}"


def _concurrency(thing: Json) -> str:
    # A Service has these values in its template, a revision in itself.
    spec = thing.get("spec", {})
    template = spec.get("template", thing)
    annotations = template.get("metadata", {}).get("annotations", {})
    limit = template.get("spec", {}).get("containerConcurrency", 0)
    return f"{annotations.get('autoscaling.knative.dev/target', '-')}/{limit or 'no limit'}"
