"""What every function has on the wire: an app, its health, problems, bodies, server-sent events."""

from typing import TYPE_CHECKING, Any

from shared.http.app import Function, Running, User, create_app, provided
from shared.http.exchange import KEEP_ALIVE, event_stream, read_body
from shared.http.problems import STATUS, problem
from shared.http.process import Process

if TYPE_CHECKING:
    from shared.http.services import RunServices, run_services

__all__ = [
    "KEEP_ALIVE",
    "STATUS",
    "Function",
    "Process",
    "RunServices",
    "Running",
    "User",
    "create_app",
    "event_stream",
    "problem",
    "provided",
    "read_body",
    "run_services",
]


def __getattr__(name: str) -> Any:
    """Import what executes runs when a function asks for it: half of the functions execute none."""
    if name in ("RunServices", "run_services"):
        from shared.http import services

        return getattr(services, name)
    raise AttributeError(name)
