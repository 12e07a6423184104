"""Which agents a process has: its own one, or those of the registry, each loaded with its first run."""

import importlib
from collections.abc import Mapping, Sequence
from typing import Protocol

from shared.agents import Agent, BoundAgent
from shared.http.binding import AgentBinder


class LoadedAgents:
    """The agents that this process can execute, by name."""

    def __init__(self, bound: Mapping[str, BoundAgent]) -> None:
        self._bound = dict(bound)

    @property
    def names(self) -> Sequence[str]:
        """Those that are loaded."""
        return list(self._bound)

    def __getitem__(self, name: str) -> BoundAgent:
        return self._bound[name]

    def fingerprint_of(self, name: str) -> str | None:
        """The fingerprint of a loaded agent's declaration; None: it is not loaded, or has none."""
        agent = self._bound.get(name)
        return agent.fingerprint or None if agent else None


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
        return LoadedAgents({self._name: binder.bind(self._name, self._agent)})


class RegisteredAgents:
    """The agents of `functions/`, each imported with its first run."""

    def loaded_by(self, binder: AgentBinder) -> LoadedAgents:
        return _Registered(binder)


class _Registered(LoadedAgents):
    def __init__(self, binder: AgentBinder) -> None:
        super().__init__({})
        self._binder = binder

    def __getitem__(self, name: str) -> BoundAgent:
        if name not in self._bound:
            module = importlib.import_module(f"functions.{name.replace('-', '_')}.app")
            self._bound[name] = self._binder.bind(name, module.app.agent)
        return self._bound[name]
