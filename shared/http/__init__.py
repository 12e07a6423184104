"""The HTTP side of every function: its app, health, problems, bodies and server-sent events."""

from typing import TYPE_CHECKING, Any

from shared.http.app import CurrentProcess, Function, User, create_app, services_of
from shared.http.exchange import KEEP_ALIVE, event_stream, read_body
from shared.http.problems import STATUS, problem
from shared.http.process import Process

if TYPE_CHECKING:
    from shared.http.services import RunServices, run_services

__all__ = [
    "KEEP_ALIVE",
    "STATUS",
    "CurrentProcess",
    "Function",
    "Process",
    "RunServices",
    "User",
    "create_app",
    "event_stream",
    "problem",
    "read_body",
    "run_services",
    "services_of",
]


def __getattr__(name: str) -> Any:
    """Import the code that executes runs only on use: half of the functions execute none."""
    if name in ("RunServices", "run_services"):
        from shared.http import services

        return getattr(services, name)
    raise AttributeError(name)
