"""What every function has on the wire: an app, its health, problems, bodies, server-sent events."""

from typing import TYPE_CHECKING, Any

from shared.http.app import (
    KEEP_ALIVE,
    User,
    create_app,
    database,
    event_stream,
    identity,
    read_body,
)
from shared.http.problems import STATUS, problem

if TYPE_CHECKING:
    from shared.http.services import run_services

__all__ = [
    "KEEP_ALIVE",
    "STATUS",
    "User",
    "create_app",
    "database",
    "event_stream",
    "identity",
    "problem",
    "read_body",
    "run_services",
]


def __getattr__(name: str) -> Any:
    """Import what executes runs when somebody uses it: half of the functions execute none."""
    if name == "run_services":
        from shared.http.services import run_services

        return run_services
    raise AttributeError(name)
