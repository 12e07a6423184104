"""The second agent of a play. It replaces the agent that ships, whose response is JSON of a schema."""

from shared.agents import Agent, Model, mcp
from shared.http import agent_app

agent = Agent(
    instructions="You are the second agent of a play.",
    model=Model("chaos-second", provider="second"),
    tools=[mcp()],
)
app = agent_app("trips", agent)
