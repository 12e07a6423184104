"""Which agents a process has: its own one, or those of the registry, each loaded with its first run."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from shared.agents import Agent, BoundAgent
from shared.core import Settings, logger
from shared.http.binding import AgentBinder
from shared.http.importing import AgentImport, Broken
from shared.runs import AgentNotLoaded, Refusal


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

    async def load(self, name: str) -> None:
        """Load an agent that a run needs.

        Raises:
            AgentNotLoaded: this process cannot.
        """
        if name not in self._bound:
            raise AgentNotLoaded


class AgentSource(Protocol):
    """Where a function's agents come from."""

    def loaded_by(self, binder: AgentBinder, settings: Settings) -> LoadedAgents:
        """The agents, bound by this binder."""
        ...


class OneAgent:
    """The one agent of a function."""

    def __init__(self, name: str, agent: Agent) -> None:
        self._name = name
        self._agent = agent

    def loaded_by(self, binder: AgentBinder, settings: Settings) -> LoadedAgents:
        del settings
        return LoadedAgents({self._name: binder.bind(self._name, self._agent)})


class RegisteredAgents:
    """The agents of `functions/`, each imported with its first run. `list_names` returns their names at the start."""

    def __init__(self, list_names: Callable[[], Collection[str]]) -> None:
        self._list_names = list_names

    def loaded_by(self, binder: AgentBinder, settings: Settings) -> LoadedAgents:
        return _Registered(self._list_names(), binder, settings.agent_load_seconds)


class _Registered(LoadedAgents):
    """One load of an agent at a time, however many runs wait for it.

    A load that failed is tried again when the next run needs the agent.
    """

    def __init__(self, listed: Collection[str], binder: AgentBinder, seconds: float) -> None:
        super().__init__({})
        self._listed = frozenset(listed)
        self._binder = binder
        self._seconds = seconds
        self._loads: dict[str, asyncio.Future[Refusal | None]] = {}
        #: Imports that have not ended, or whose agent nobody got yet. One that hangs is not started a second time.
        self._imports: dict[str, AgentImport] = {}

    async def load(self, name: str) -> None:
        if name in self._bound:
            return
        if name not in self._listed:
            raise AgentNotLoaded("agent_gone")
        if name not in self._loads:
            self._loads[name] = load = asyncio.ensure_future(self._load(name))
            load.add_done_callback(lambda _: self._loads.pop(name))
        # The load does not depend on the request that began it.
        if refusal := await asyncio.shield(self._loads[name]):
            raise AgentNotLoaded(refusal)

    async def _load(self, name: str) -> Refusal | None:
        outcome = await self._import(name)
        if isinstance(outcome, Agent):
            try:
                self._bound[name] = self._binder.bind(name, outcome)
            except Exception as error:
                self._imports.pop(name).forget()
                outcome = Broken.of(error)
        if isinstance(outcome, Broken):
            facts = {"code": "agent_broken", "agent": name, "error": outcome.kind, "at": outcome.at}
            logger.error("agent.broken", extra=facts)
            return "agent_broken"
        return None

    async def _import(self, name: str) -> Agent | Broken:
        pending = self._imports.get(name)
        if pending is None or pending.has_failed:
            pending = self._imports[name] = AgentImport(name)
        return await pending.wait(self._seconds)
