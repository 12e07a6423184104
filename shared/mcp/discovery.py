"""Lists the tools of each server. The lists are stored in memory and in Postgres, and refreshed while the model thinks.

A new process starts with the stored lists, so its first run does not wait for other functions to start. Refreshing a
list is what starts them, in time for a call.
"""

import asyncio
import importlib
from collections.abc import Collection, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import Any, Protocol
from uuid import UUID

import orjson

from shared.agents import RunContext
from shared.core import (
    InvalidSettings,
    Json,
    Once,
    ToolSettings,
    Unavailable,
    carried,
    clean_json,
    logger,
)
from shared.database import Database
from shared.mcp.client import Client
from shared.mcp.faults import ServerFailed
from shared.mcp.servers import Server, servers_of
from shared.mcp.slots import Slots
from shared.mcp.toolbox import MakeHeaders, McpToolbox

#: How long no list is requested from a server that failed.
_FAILED_SECONDS = 5.0
#: When a list that a run already uses is refreshed: while its model thinks. An HTTP client is imported for it, which
#: would otherwise delay the first token of a process by 160 ms.
_REFRESH_AFTER_SECONDS = 0.1


class TokenMinter(Protocol):
    """Makes the signed tokens of requests to our functions, which name the user for whom a request acts."""

    def mint(self, function: str, claims: Mapping[str, object], run_id: str | None) -> str: ...


@dataclass(slots=True)
class _ToolList:
    tools: Sequence[Json]
    listed_at: float
    seconds: float

    @property
    def is_fresh(self) -> bool:
        return monotonic() - self.listed_at < self.seconds


class McpTools:
    """The tools of all servers of these settings.

    Raises:
        InvalidSettings: a server's settings cannot be used.
    """

    def __init__(
        self, settings: ToolSettings, database: Database, minter: TokenMinter | None
    ) -> None:
        self._settings = settings
        self._database = database
        self._minter = minter
        self._servers = servers_of(settings)
        self._clients = {server.name: Client(server.url, self._http) for server in self._servers}
        self._lists: dict[tuple[str, str], _ToolList] = {}
        self._refreshing: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._slots = Slots(database, settings)
        self._load_stored = Once(self._read_stored)
        self._session: Any = None

    async def warm(self) -> None:
        """Load the stored lists, once. If that fails, the servers are listed instead."""
        if self._servers:
            try:
                await self._load_stored()
            except Exception as error:
                logger.warning("tools.not_recalled", extra={"error": type(error).__name__})

    async def _read_stored(self) -> None:
        names = {server.url: server.name for server in self._servers}
        for row in await self._database.rows("read_tool_lists", [*names]):
            key = (names[row["server"]], row["role"])
            self._lists.setdefault(key, _ToolList(orjson.loads(row["tools"]), 0.0, 0.0))

    def of_servers(self, names: Collection[str]) -> "ServerTools":
        """The tools of the servers with these names; without names, of all but our own.

        Raises:
            InvalidSettings: MCP_SERVERS has no server with one of these names.
        """
        others = {server.name: server for server in self._servers if not server.is_ours}
        if unknown := {*names} - others.keys():
            raise InvalidSettings(
                f"MCP_SERVERS has no server {min(unknown)!r}, which an agent uses."
            )
        return ServerTools(self, [others[name] for name in names or others])

    def of_ours(self, tools: Collection[str]) -> "ServerTools":
        """These tools of our own function; without names, all of them."""
        ours = [server for server in self._servers if server.is_ours]
        return ServerTools(self, [server.limited_to(tools) for server in ours])

    async def open(self, servers: Sequence[Server], run: RunContext) -> McpToolbox:
        """The tools of a run, without those of servers that do not respond."""
        await self.warm()

        def make_headers(server: Server) -> Mapping[str, str]:
            return self._headers(server, run)

        role = run.user.role or ""
        lists = await asyncio.gather(
            *(self._list(server, role, make_headers) for server in servers)
        )
        tool_lists = [
            (server, self._clients[server.name], tools)
            for server, tools in zip(servers, lists, strict=True)
        ]
        slot = partial(self._slots.hold, str(UUID(run.user.id)), run.id)
        return McpToolbox(tool_lists, make_headers, slot, self._settings)

    async def _list(self, server: Server, role: str, make_headers: MakeHeaders) -> Sequence[Json]:
        key = (server.name, role if server.is_ours else "")
        tool_list = self._lists.get(key)
        if tool_list is None or not tool_list.is_fresh:
            refreshing = self._refreshing.get(key) or self._refresh_soon(
                key, self._refresh(server, key, make_headers)
            )
            if tool_list is None or not self._may_use_old_lists:
                # If one waiting run is cancelled, the others still need the list.
                await asyncio.shield(refreshing)
        return self._lists[key].tools

    @property
    def _may_use_old_lists(self) -> bool:
        return self._settings.tool_list_fresh_seconds > 0

    def _refresh_soon(
        self, key: tuple[str, str], work: Coroutine[Any, Any, None]
    ) -> asyncio.Task[None]:
        refreshing = self._refreshing[key] = asyncio.ensure_future(work)
        refreshing.add_done_callback(lambda _: self._refreshing.pop(key, None))
        return refreshing

    async def _refresh(
        self, server: Server, key: tuple[str, str], make_headers: MakeHeaders
    ) -> None:
        previous = self._lists.get(key)
        if previous and self._may_use_old_lists:
            # The run that needs it has a list, and sends its request to the model first.
            await asyncio.sleep(_REFRESH_AFTER_SECONDS)
        await asyncio.to_thread(importlib.import_module, "aiohttp")
        try:
            async with asyncio.timeout(self._settings.tool_list_seconds):
                listed = await self._clients[server.name].list_tools(make_headers(server))
            # Postgres cannot store what a foreign server may write.
            tools = clean_json(listed)
        except (ServerFailed, TimeoutError, RecursionError) as error:
            facts = _facts_of(error)
            logger.warning("tools.not_listed", extra={"server": server.name, **facts})
            previous_tools = previous.tools if previous else ()
            seconds = min(_FAILED_SECONDS, self._settings.tool_list_fresh_seconds)
            self._lists[key] = _ToolList(previous_tools, monotonic(), seconds)
            return
        self._lists[key] = _ToolList(tools, monotonic(), self._settings.tool_list_fresh_seconds)
        if previous is None or list(previous.tools) != tools:
            with suppress(Unavailable):
                await self._database.call("store_tool_list", server.url, key[1], tools)

    def _headers(self, server: Server, run: RunContext) -> Mapping[str, str]:
        if not (server.is_ours and self._minter):
            return server.headers
        origin = {"x-request-id": run.request_id} if run.request_id else {}
        token = self._minter.mint(server.name, run.user.claims, run.id)
        return {"authorization": f"Bearer {token}", **origin, **carried()}

    def _http(self) -> Any:
        import aiohttp

        if self._session is None:
            self._session = aiohttp.ClientSession(
                # No total limit: each call has its own.
                timeout=aiohttp.ClientTimeout(total=None, connect=self._settings.tool_list_seconds)
            )
        return self._session

    async def close(self) -> None:
        """Stop refreshing, and close all connections."""
        for refreshing in [*self._refreshing.values()]:
            refreshing.cancel()
        if self._session is not None:
            await self._session.close()


def _facts_of(error: Exception) -> Mapping[str, Any]:
    """What a log line says of a list that could not be used."""
    if isinstance(error, ServerFailed):
        return error.facts
    return {"fault": "timed_out" if isinstance(error, TimeoutError) else "not_mcp"}


class ServerTools:
    """The tools of some servers, as an agent uses them."""

    def __init__(self, tools: McpTools, servers: Sequence[Server]) -> None:
        self._tools = tools
        self._servers = servers

    async def open(self, run: RunContext) -> McpToolbox:
        return await self._tools.open(self._servers, run)
