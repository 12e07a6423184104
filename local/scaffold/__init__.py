"""Makes and removes agents, and generates what follows from the list of functions. It is not in the image."""

from local.scaffold.agents import make_agent
from local.scaffold.command import remove

__all__ = ["make_agent", "remove"]
