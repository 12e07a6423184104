"""Which revision gets how much. Traffic blocks of Knative Services, from what a cluster says of them."""

from knative.errors import Refused
from shared.core import Json

#: What had the most traffic when the last `deploy` began: where `rollback` goes.
SERVED_BEFORE = "agent-functions/served-before"


def shares(service: Json) -> dict[str, int]:
    """Percent by revision, the largest first; none before the first revision was ready."""
    found: dict[str, int] = {}
    for target in service.get("status", {}).get("traffic", ()):
        name = target.get("revisionName", "")
        found[name] = found.get(name, 0) + target.get("percent", 0)
    return dict(sorted(found.items(), key=lambda each: -each[1]))


def serving(service: Json | None) -> str | None:
    """The revision with the most traffic. During a canary that is not the latest one."""
    return next(iter(shares(service or {})), None)


def split(service: Json | None, canary: int | None) -> list[Json]:
    """All for the latest revision that is ready, or `canary` percent of it and the rest for what serves.

    `latestRevision` and not the new one's name: until that is ready, what it would get goes where it went.
    """
    stable = serving(service)
    if not canary or not stable:
        return [{"latestRevision": True, "percent": 100}]
    return [
        {"revisionName": stable, "percent": 100 - canary},
        {"latestRevision": True, "percent": canary},
    ]


def held(service: Json | None, canary: int | None) -> list[Json]:
    """What `split` says, where that leaves the traffic alone until the new revision is ready; else all for what serves.

    After a rollback, or in a canary, the latest ready revision is not what serves, and `latestRevision` would mean it.
    """
    stable = serving(service)
    if stable and stable != (service or {})["status"].get("latestReadyRevisionName"):
        return [{"revisionName": stable, "percent": 100}]
    return split(service, canary)


def promoted(service: Json) -> list[Json]:
    """All for the latest revision.

    Raises:
        Refused: it is not ready.
    """
    status = service.get("status", {})
    created, ready = status.get("latestCreatedRevisionName"), status.get("latestReadyRevisionName")
    if not created or created != ready:
        raise Refused(
            f"{_name(service)}: {created or 'no revision'} is not ready; `status` says why."
        )
    return split(None, None)


def rolled_back(service: Json, to: str | None) -> list[Json]:
    """All for one revision: the given one, or what served before the last deploy.

    Raises:
        Refused: nobody knows what that is.
    """
    target = to or service["metadata"].get("annotations", {}).get(SERVED_BEFORE)
    if not target:
        raise Refused(
            f"{_name(service)}: nothing served before its last deploy. Name a revision with --to."
        )
    return [{"revisionName": target, "percent": 100}]


def told(service: Json) -> str:
    """Such as `90% agent-00001, 10% agent-00002`."""
    return ", ".join(f"{percent}% {name}" for name, percent in shares(service).items()) or "none"


def _name(service: Json) -> str:
    return str(service["metadata"]["name"])
