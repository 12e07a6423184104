"""Imports an agent from `functions/` in a thread: its module may take long, fail, or never end."""

import asyncio
import importlib
import sys
from concurrent.futures import Future
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from typing import Any

from shared.agents import Agent
from shared.core import error_facts, place_of_thread


@dataclass(frozen=True, slots=True)
class Broken:
    """Why an agent cannot be used: the kind of the error and its place, never its message."""

    kind: str
    at: str

    @classmethod
    def of(cls, error: BaseException) -> "Broken":
        facts = error_facts(error)
        return cls(facts["error"], facts["at"])


class AgentImport:
    """One import of one agent. Its thread does not delay the exit of the process."""

    def __init__(self, name: str) -> None:
        self._folder = name.replace("-", "_")
        self._outcome: Future[Agent | Broken] = Future()
        self._thread = Thread(target=self._run, name=f"import of {name}", daemon=True)
        self._thread.start()

    @property
    def has_failed(self) -> bool:
        """Whether it has ended without an agent."""
        return self._outcome.done() and not isinstance(self._outcome.result(), Agent)

    def forget(self) -> None:
        """Let the next import of this agent execute its modules again."""
        _forget(self._folder)

    async def wait(self, seconds: float) -> Agent | Broken:
        """Wait for the agent. A later call can wait for the same import again."""
        outcome = asyncio.wrap_future(self._outcome)
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.shield(outcome)
        except TimeoutError:
            frame = sys._current_frames().get(self._thread.ident or 0)
            return Broken("TimeoutError", place_of_thread(frame).at)

    def _run(self) -> None:
        try:
            self._outcome.set_result(_import(self._folder))
        except BaseException as error:
            _forget(self._folder)
            self._outcome.set_result(Broken.of(error))


def _import(folder: str) -> Agent | Broken:
    if not _has_module(folder):
        return Broken("NoModule", f"functions/{folder}/app.py")
    module: Any = importlib.import_module(f"functions.{folder}.app")
    agent = getattr(getattr(module, "app", None), "agent", None)
    if isinstance(agent, Agent):
        return agent
    _forget(folder)
    return Broken("NoAgent", str(module.__file__))


def _has_module(folder: str) -> bool:
    package = find_spec(f"functions.{folder}")
    places = package.submodule_search_locations if package else None
    return any((Path(place) / "app.py").is_file() for place in places or ())


def _forget(folder: str) -> None:
    """Let the next import execute all modules of this function again, also those that could be imported."""
    package = f"functions.{folder}"
    for name in [*sys.modules]:
        if name == package or name.startswith(f"{package}."):
            del sys.modules[name]
    importlib.invalidate_caches()
