"""MCP as a client: the tools of other servers, as an agent's."""

from shared.mcp.client import Client
from shared.mcp.discovery import McpTools
from shared.mcp.faults import Fault, ServerFailed
from shared.mcp.servers import Server, servers_of

__all__ = [
    "Client",
    "Fault",
    "McpTools",
    "Server",
    "ServerFailed",
    "servers_of",
]
