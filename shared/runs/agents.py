"""The agents that a process executes, as far as this package needs to know them."""

from collections.abc import Sequence
from typing import Literal, Protocol, TypeAlias

#: Why a runner refuses a run: its revision does not have the agent, or cannot load it.
Refusal: TypeAlias = Literal["agent_gone", "agent_broken"]


class AgentNotLoaded(Exception):
    """This process cannot execute this agent. `refusal`: why no other runner can, if this process is one."""

    def __init__(self, refusal: Refusal | None = None) -> None:
        self.refusal = refusal
        super().__init__(refusal)


class ExecutableAgents(Protocol):
    """The agents that this process can execute."""

    @property
    def names(self) -> Sequence[str]:
        """Those that are loaded."""
        ...

    def fingerprint_of(self, name: str) -> str | None:
        """The fingerprint of a loaded agent's declaration; None: it is not loaded, or has none."""
        ...

    async def load(self, name: str) -> None:
        """Load an agent that a run needs.

        Raises:
            AgentNotLoaded: this process cannot.
        """
        ...
