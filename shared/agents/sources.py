"""Declarations of tools that other processes have. They are resolved where the worker is built, by `shared.mcp`."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class McpServers:
    """Tools of MCP servers of the settings: of these, or of all."""

    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SharedTools:
    """Tools of the function `tools`: these, or all."""

    names: tuple[str, ...] = ()


def mcp(*names: str) -> McpServers:
    """The tools of the servers with these names in `MCP_SERVERS`; without names, of all servers there."""
    return McpServers(names)


def shared_tools(*names: str) -> SharedTools:
    """The tools with these names of the function `tools`; without names, all of its tools."""
    return SharedTools(names)
