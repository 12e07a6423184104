"""What the containers of a function's pods do, while the function is not ready."""

from typing import NamedTuple

from knative.cluster import POD, Cluster
from knative.errors import Refused
from shared.core import Json

#: The function's container; the other one of a pod is Knative's.
CONTAINER = "function"
_REVISION = "serving.knative.dev/revision"
_STARTING = ("ContainerCreating", "PodInitializing")


class Trouble(NamedTuple):
    """A container that exits, or cannot start. `exits`: how often it exited; `text`: why, as far as the pod says."""

    exits: int
    text: str


def trouble_of(cluster: Cluster, service: str, revision: str) -> Trouble | None:
    """The container of this revision that exited most often. None: all run, or we may not read pods."""
    try:
        pods = cluster.list(POD, service)
        found = [
            each
            for pod in pods
            if pod["metadata"].get("labels", {}).get(_REVISION) == revision
            and (each := _trouble(cluster, pod))
        ]
    except Refused:
        return None
    return max(found, default=None)


def _trouble(cluster: Cluster, pod: Json) -> Trouble | None:
    for status in pod.get("status", {}).get("containerStatuses", ()):
        if status["name"] != CONTAINER:
            continue
        state = status.get("state", {})
        last = state.get("terminated") or status.get("lastState", {}).get("terminated")
        waiting = state.get("waiting", {}).get("reason", "")
        if last:
            # `restartCount` counts the starts after exits, so the last exit is in it only if it runs again.
            exits = status.get("restartCount", 0) + ("running" not in state)
            line = _last_line(cluster, pod["metadata"]["name"], last)
            return Trouble(exits, _reason(last, waiting, line))
        if waiting and waiting not in _STARTING:
            message = state["waiting"].get("message", "")
            return Trouble(0, f"{waiting}: {message}" if message else waiting)
    return None


def _reason(ended: Json, waiting: str, line: str) -> str:
    """Such as `exited with 1 (CrashLoopBackOff): Set SUPABASE_URL; docs/configuration.md says to what.`"""
    how = f"exited with {ended.get('exitCode', '?')}"
    if (reason := ended.get("reason")) and reason not in ("Error", "Completed"):
        how += f", {reason}"
    return f"{how}{f' ({waiting})' if waiting else ''}{f': {line}' if line else ''}"


def _last_line(cluster: Cluster, pod: str, ended: Json) -> str:
    """The last line that the container wrote: the pod's status has it, else the log."""
    if lines := [line for line in str(ended.get("message", "")).splitlines() if line.strip()]:
        return lines[-1].strip()
    try:
        return next(iter(cluster.log(pod, CONTAINER, follow=False, lines=1)), "").strip()
    except Refused:
        return ""
