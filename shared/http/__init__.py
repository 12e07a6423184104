"""The HTTP side of every function: its app, health, problems, bodies and server-sent events."""

import importlib
from typing import TYPE_CHECKING, Any

from shared.http.app import CurrentProcess, Function, User, create_app, services_of
from shared.http.exchange import KEEP_ALIVE, StreamedResponse, event_stream, read_body
from shared.http.problems import STATUS, log_refusal, problem
from shared.http.process import Process, users_verifier

if TYPE_CHECKING:
    # A module: imported by those who describe routes.
    from shared.http import openapi
    from shared.http.agents import agent_app
    from shared.http.loading import RegisteredAgents
    from shared.http.services import RunServices, run_services

#: What executes runs, imported when a function asks for it: half of the functions execute none.
_OF_RUNS = {
    "RegisteredAgents": "loading",
    "RunServices": "services",
    "agent_app": "agents",
    "run_services": "services",
}

__all__ = [
    "KEEP_ALIVE",
    "STATUS",
    "CurrentProcess",
    "Function",
    "Process",
    "RegisteredAgents",
    "RunServices",
    "StreamedResponse",
    "User",
    "agent_app",
    "create_app",
    "event_stream",
    "log_refusal",
    "openapi",
    "problem",
    "read_body",
    "run_services",
    "services_of",
    "users_verifier",
]


def __getattr__(name: str) -> Any:
    if name in _OF_RUNS:
        return getattr(importlib.import_module(f"shared.http.{_OF_RUNS[name]}"), name)
    raise AttributeError(name)
