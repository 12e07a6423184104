"""Checks of the MCP servers: each lists its tools."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Final
from uuid import UUID

from shared.auth import Minter
from shared.core import InvalidSettings, Json, Settings
from shared.doctor.checks import Check, Failed
from shared.mcp import Client, Fault, Server, ServerFailed, servers_of

#: A user who does not exist: to list tools takes a signed request, and no right.
_NOBODY: Final[Json] = {
    "sub": str(UUID(int=0)),
    "role": "authenticated",
    "session_id": str(UUID(int=0)),
    "is_anonymous": True,
}
#: What is wrong, by the fault. Not in the server's own words, which may quote a key.
_FAULTS: Final[Mapping[Fault, str]] = {
    "unreachable": "it cannot be reached",
    "broke_off": "it broke off",
    "timed_out": "it did not answer in time",
    "unauthorized": "it does not accept our credentials",
    "redirected": "it redirects to another host, or in a circle",
    "http_error": "it does not answer as MCP says",
    "refused": "it refuses to list its tools",
    "too_large": "its list of tools is too large",
    "not_mcp": "it does not answer as MCP says",
}
#: The response of `tools` to a request for a host that it does not serve.
_FORBIDDEN: Final = 403
#: The faults that a wrong key may have.
_OF_KEYS: Final = frozenset({"unauthorized", "http_error", "refused"})


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

    try:
        async with aiohttp.ClientSession() as session:
            tools = await Client(server.url, lambda: session).list_tools(_headers(server, settings))
    except ServerFailed as error:
        raise Failed(remedy(error, is_ours=server.is_ours)) from None
    return f"{len(tools)} tools"


def remedy(error: ServerFailed, *, is_ours: bool) -> str:
    """What is wrong with a server, and what to check, in one sentence. `is_ours`: it is our function `tools`."""
    place, keys = (
        (
            "TOOLS_URL",
            "that INTERNAL_PUBLIC_KEYS of `tools` has the public half of INTERNAL_SIGNING_KEY",
        )
        if is_ours
        else ("its url in MCP_SERVERS", "its headers")
    )
    if is_ours and error.status == _FORBIDDEN:
        keys = "that MCP_ALLOWED_HOSTS of `tools` has its host name"
    number = error.status if error.code is None else error.code
    what = _FAULTS[error.fault] + (f" ({number})" if number is not None else "")
    return f"{what}: check {place}{f', and {keys}' if error.fault in _OF_KEYS else ''}."


def _headers(server: Server, settings: Settings) -> Mapping[str, str]:
    if not server.is_ours:
        return server.headers
    settings.require("internal_signing_key")
    # The name of the caller is its own claim: `tools` knows callers by their keys.
    token = Minter("doctor", settings.internal_signing_key).mint(server.name, _NOBODY, None)
    return {"authorization": f"Bearer {token}"}
