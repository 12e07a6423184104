"""A server of the Python SDK from before November 2025, with sessions: `python server.py <port>`."""

import sys

from mcp.server.fastmcp import FastMCP

server = FastMCP("older", host="127.0.0.1", port=int(sys.argv[1]), log_level="ERROR")


@server.tool()
def double(n: int) -> str:
    """Twice the number."""
    return str(2 * n)


@server.tool()
def wait() -> str:
    """Do nothing: a tool without parameters."""
    return "waited"


server.run(transport="streamable-http")
