"""The agents that a process executes, as far as this package needs to know them."""

from collections.abc import Sequence
from typing import Protocol


class ExecutableAgents(Protocol):
    """The agents that this process can execute."""

    @property
    def names(self) -> Sequence[str]:
        """Those that are loaded."""
        ...

    def fingerprint_of(self, name: str) -> str | None:
        """The fingerprint of a loaded agent's declaration; None: it is not loaded, or has none."""
        ...
