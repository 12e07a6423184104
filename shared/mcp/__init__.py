"""MCP as a client: the tools of other servers, as an agent's."""

from shared.mcp.discovery import McpTools

__all__ = [
    "McpTools",
]
