"""Makes new agents, and generates what follows from the list of functions. It is not in the image."""

from local.scaffold.agents import make_agent

__all__ = ["make_agent"]
