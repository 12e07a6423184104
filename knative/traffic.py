"""Traffic blocks of Knative Services: which revision gets which share, computed from their status."""

from knative.errors import Refused
from shared.core import Json

#: An annotation: the revision with the most traffic when the last `deploy` started. `rollback` returns to it.
SERVED_BEFORE = "agent-functions/served-before"


def shares(service: Json) -> dict[str, int]:
    """Percent by revision, largest first; empty until the first revision is ready."""
    percents: dict[str, int] = {}
    for target in service.get("status", {}).get("traffic", ()):
        name = target.get("revisionName", "")
        percents[name] = percents.get(name, 0) + target.get("percent", 0)
    return dict(sorted(percents.items(), key=lambda each: -each[1]))


def serving(service: Json | None) -> str | None:
    """The revision with the most traffic. During a canary that is not the latest one."""
    return next(iter(shares(service or {})), None)


def split(service: Json | None, canary: int | None) -> list[Json]:
    """All traffic for the latest ready revision, or `canary` percent for it and the rest for the one that serves now.

    It names `latestRevision` and not the new revision: until that is ready, its share stays with the previous one.
    """
    stable = serving(service)
    if not canary or not stable:
        return [{"latestRevision": True, "percent": 100}]
    return [
        {"revisionName": stable, "percent": 100 - canary},
        {"latestRevision": True, "percent": canary},
    ]


def until_ready(service: Json | None, canary: int | None) -> list[Json]:
    """The traffic until the new revision is ready: `split` if that moves nothing yet, else all for the one that serves.

    After a rollback or in a canary, the latest ready revision is not the one that serves, so `latestRevision` would
    move traffic to it.
    """
    stable = serving(service)
    if stable and stable != (service or {})["status"].get("latestReadyRevisionName"):
        return [{"revisionName": stable, "percent": 100}]
    return split(service, canary)


def to_latest(service: Json) -> list[Json]:
    """All traffic for the latest revision.

    Raises:
        Refused: it is not ready.
    """
    status = service.get("status", {})
    created, ready = status.get("latestCreatedRevisionName"), status.get("latestReadyRevisionName")
    if not created or created != ready:
        raise Refused(
            f"{_name(service)}: {created or 'no revision'} is not ready; `status` shows why."
        )
    return split(None, None)


def to_previous(service: Json, to: str | None) -> list[Json]:
    """All traffic for one revision: the given one, or the one that served before the last deploy.

    Raises:
        Refused: no revision is given, and the Service names none.
    """
    target = to or service["metadata"].get("annotations", {}).get(SERVED_BEFORE)
    if not target:
        raise Refused(
            f"{_name(service)}: nothing served before its last deploy. Name a revision with --to."
        )
    return [{"revisionName": target, "percent": 100}]


def summary(service: Json) -> str:
    """For people, such as `90% assistant-00001, 10% assistant-00002`."""
    return ", ".join(f"{percent}% {name}" for name, percent in shares(service).items()) or "none"


def _name(service: Json) -> str:
    return str(service["metadata"]["name"])
