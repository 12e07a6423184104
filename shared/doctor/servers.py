"""Checks of the MCP servers: each lists its tools."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Final
from uuid import UUID

from shared.auth import Minter
from shared.core import InvalidSettings, Json, Settings
from shared.doctor.checks import Check, Failed
from shared.mcp import Client, Server, ServerFailed, servers_of

#: A user who does not exist: to list tools takes a signed request, and no right.
_NOBODY: Final[Json] = {
    "sub": str(UUID(int=0)),
    "role": "authenticated",
    "session_id": str(UUID(int=0)),
    "is_anonymous": True,
}


def server_checks(settings: Settings) -> Iterator[Check]:
    """Our function `tools` and the servers of MCP_SERVERS, whichever these settings have."""
    try:
        servers = servers_of(settings)
    except InvalidSettings:
        yield Check(name="MCP servers", run=partial(_read_servers, settings))
        return
    for server in servers:
        run = partial(_list_tools, server, settings)
        yield Check(name=f"MCP {server.name}", run=run, seconds=settings.tool_list_seconds)


async def _read_servers(settings: Settings) -> str:
    return f"{len(servers_of(settings))} servers"


async def _list_tools(server: Server, settings: Settings) -> str:
    import aiohttp

    place = "TOOLS_URL" if server.is_ours else "its url in MCP_SERVERS"
    try:
        async with aiohttp.ClientSession() as session:
            tools = await Client(server.url, lambda: session).list_tools(_headers(server, settings))
    except ServerFailed as error:
        keys = "INTERNAL_SIGNING_KEY" if server.is_ours else "its headers"
        raise Failed(f"{str(error).rstrip('.')}: check {place}, and {keys}.") from None
    return f"{len(tools)} tools"


def _headers(server: Server, settings: Settings) -> Mapping[str, str]:
    if not server.is_ours:
        return server.headers
    settings.require("internal_signing_key")
    # The name of the caller is its own claim: `tools` knows callers by their keys.
    token = Minter("doctor", settings.internal_signing_key).mint(server.name, _NOBODY, None)
    return {"authorization": f"Bearer {token}"}
