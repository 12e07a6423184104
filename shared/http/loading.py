"""Which agents a process has: its own one, or those of the registry, each loaded with its first run."""

import importlib
from typing import Protocol

from shared.agents import Agent, BoundAgent
from shared.http.binding import AgentBinder


class LoadedAgents(Protocol):
    """The agents that this process can execute, by name."""

    def __getitem__(self, name: str) -> BoundAgent: ...


class AgentSource(Protocol):
    """Where a function's agents come from."""

    def loaded_by(self, binder: AgentBinder) -> LoadedAgents:
        """The agents, bound by this binder."""
        ...


class OneAgent:
    """The one agent of a function."""

    def __init__(self, name: str, agent: Agent) -> None:
        self._name = name
        self._agent = agent

    def loaded_by(self, binder: AgentBinder) -> LoadedAgents:
        return {self._name: binder.bind(self._name, self._agent)}


class RegisteredAgents:
    """The agents of `functions/`, each imported with its first run."""

    def loaded_by(self, binder: AgentBinder) -> LoadedAgents:
        return _Registered(binder)


class _Registered:
    def __init__(self, binder: AgentBinder) -> None:
        self._binder = binder
        self._bound: dict[str, BoundAgent] = {}

    def __getitem__(self, name: str) -> BoundAgent:
        if name not in self._bound:
            module = importlib.import_module(f"functions.{name.replace('-', '_')}.app")
            self._bound[name] = self._binder.bind(name, module.app.agent)
        return self._bound[name]
