"""Gives an agent what its process has: clients of its models, its tools, and the limits of the settings."""

from typing import TypeVar

from shared.agents import (
    Agent,
    BoundAgent,
    CombinedTools,
    FunctionTools,
    McpServers,
    Model,
    ModelChoice,
    SharedTools,
    Tools,
)
from shared.core import Settings
from shared.database import Database
from shared.mcp import McpTools
from shared.models import OpenAIModel, Provider, provider_of

Number = TypeVar("Number", int, float)


class AgentBinder:
    """Binds agents to this process. Agents with the same model server share its client."""

    def __init__(self, settings: Settings, database: Database, mcp: McpTools) -> None:
        self._settings = settings
        self._database = database
        self._mcp = mcp
        self._clients: dict[Provider, OpenAIModel] = {}

    def bind(self, name: str, agent: Agent) -> BoundAgent:
        """The agent as this process executes it.

        Raises:
            InvalidSettings: a model server or an MCP server that it names is not in the settings.
        """
        settings = self._settings
        return BoundAgent(
            name=name,
            fingerprint=agent.fingerprint(),
            instructions=agent.instructions,
            models=[self._choice(model, agent) for model in agent.model.in_order],
            tools=self._tools(agent),
            output=agent.output,
            max_turns=agent.max_turns,
            max_tool_calls=_limit(agent.max_tool_calls, settings.max_tool_calls),
            context_tokens=_limit(agent.context_tokens, settings.model_context_tokens),
            approval_hours=_limit(agent.approval_hours, settings.approval_hours),
            max_turn_tries=settings.max_turn_tries,
            instructions_seconds=settings.instructions_seconds,
        )

    def _choice(self, model: Model, agent: Agent) -> ModelChoice:
        provider = provider_of(self._settings, model.provider, model.api)
        if provider not in self._clients:
            self._clients[provider] = OpenAIModel(self._settings, provider)
        settings = model.settings(agent.output_schema)
        return ModelChoice(self._clients[provider], settings, provider.api)

    def _tools(self, agent: Agent) -> Tools:
        sources: list[Tools] = []
        if agent.functions:
            sources.append(FunctionTools(agent.functions, self._database, self._settings))
        for source in agent.tools:
            match source:
                case McpServers(names):
                    sources.append(self._mcp.of_servers(names))
                case SharedTools(names):
                    sources.append(self._mcp.of_ours(names))
        return CombinedTools(sources, agent.approval, [tool.name for tool in agent.functions])

    async def warm(self) -> None:
        """Make the clients before the first request needs them."""
        for client in self._clients.values():
            await client.warm()

    async def close(self) -> None:
        for client in self._clients.values():
            await client.close()


def _limit(own: Number | None, default: Number) -> Number:
    return default if own is None else own
