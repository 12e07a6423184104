"""Which tools there are: asked of each server, remembered here and in Postgres, refreshed while the model thinks.

A process that wakes knows the lists of before, so its first answer does not wait for other functions to wake; asking
for them anew is what wakes them, in time for a call.
"""

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import Any, Protocol
from uuid import UUID

import orjson

from shared.auth import role_of
from shared.core import Json, Once, ToolSettings, Unavailable, carried, logger
from shared.database import Database
from shared.mcp.client import Client, ServerFailed
from shared.mcp.servers import Server, servers_of
from shared.mcp.slots import Slots
from shared.mcp.toolbox import Headers, McpToolbox

#: A list is asked for anew when it is older, and a server that failed is left alone for so long.
_FRESH_SECONDS = 30.0
_FAILED_SECONDS = 5.0


class Mint(Protocol):
    """Signs who a request to one of our own functions acts for."""

    def mint(self, function: str, claims: Mapping[str, object], run_id: str | None) -> str: ...


@dataclass(slots=True)
class _Listed:
    tools: Sequence[Json]
    asked_at: float
    seconds: float

    @property
    def is_fresh(self) -> bool:
        return monotonic() - self.asked_at < self.seconds


class McpTools:
    """The tools of all servers of these settings.

    Raises:
        InvalidSettings: a server's settings cannot be used.
    """

    def __init__(self, settings: ToolSettings, database: Database, mint: Mint | None) -> None:
        self._settings = settings
        self._database = database
        self._mint = mint
        self._servers = servers_of(settings)
        self._clients = {server.name: Client(server.url, self._http) for server in self._servers}
        self._lists: dict[tuple[str, str], _Listed] = {}
        self._asking: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._slots = Slots(database, settings)
        self._recall = Once(self._remembered)
        self._session: Any = None

    async def warm(self) -> None:
        """Read what was remembered, once. Without it servers are asked: what goes wrong here fails nothing."""
        if self._servers:
            try:
                await self._recall()
            except Exception as error:
                logger.warning("tools.not_recalled", extra={"error": type(error).__name__})

    async def _remembered(self) -> None:
        names = {server.url: server.name for server in self._servers}
        for row in await self._database.rows("read_tool_lists", [*names]):
            key = (names[row["server"]], row["role"])
            self._lists.setdefault(key, _Listed(orjson.loads(row["tools"]), 0.0, 0.0))

    async def open(self, claims: Json, run_id: str, request_id: str | None) -> McpToolbox:
        """The tools a run has that acts with these claims. A server that does not answer costs its tools only."""
        await self.warm()

        def headers(server: Server) -> Mapping[str, str]:
            return self._headers(server, claims, run_id, request_id)

        role = role_of(claims) or ""
        lists = await asyncio.gather(
            *(self._list(server, role, headers) for server in self._servers)
        )
        listed = [
            (server, self._clients[server.name], tools)
            for server, tools in zip(self._servers, lists, strict=True)
        ]
        slot = partial(self._slots.hold, str(UUID(claims["sub"])), run_id)
        return McpToolbox(listed, headers, slot, self._settings)

    async def _list(self, server: Server, role: str, headers: Headers) -> Sequence[Json]:
        key = (server.name, role if server.is_ours else "")
        known = self._lists.get(key)
        if known is None or not known.is_fresh:
            asking = self._asking.get(key) or self._ask(key, self._refresh(server, key, headers))
            if known is None:
                # Whoever waits may be cancelled; the others still wait.
                await asyncio.shield(asking)
        return self._lists[key].tools

    def _ask(self, key: tuple[str, str], work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        asking = self._asking[key] = asyncio.ensure_future(work)
        asking.add_done_callback(lambda _: self._asking.pop(key, None))
        return asking

    async def _refresh(self, server: Server, key: tuple[str, str], headers: Headers) -> None:
        import aiohttp

        known = self._lists.get(key)
        try:
            async with asyncio.timeout(self._settings.tool_list_seconds):
                tools = await self._clients[server.name].list_tools(headers(server))
        except (ServerFailed, aiohttp.ClientError, OSError) as error:
            name = type(error).__name__
            logger.warning("tools.not_listed", extra={"server": server.name, "error": name})
            before = known.tools if known else ()
            self._lists[key] = _Listed(before, monotonic(), _FAILED_SECONDS)
            return
        self._lists[key] = _Listed(tools, monotonic(), _FRESH_SECONDS)
        if known is None or list(known.tools) != tools:
            with suppress(Unavailable):
                await self._database.call("store_tool_list", server.url, key[1], tools)

    def _headers(
        self, server: Server, claims: Json, run_id: str, request_id: str | None
    ) -> Mapping[str, str]:
        named = {**({"x-request-id": request_id} if request_id else {}), **carried()}
        if server.is_ours and self._mint:
            return {
                "authorization": f"Bearer {self._mint.mint(server.name, claims, run_id)}",
                **named,
            }
        return {**server.headers}

    def _http(self) -> Any:
        import aiohttp

        if self._session is None:
            self._session = aiohttp.ClientSession(
                # Longer than a call may take: who calls has a timer of their own.
                timeout=aiohttp.ClientTimeout(total=None, connect=self._settings.tool_list_seconds)
            )
        return self._session

    async def close(self) -> None:
        """Stop asking, and close all connections."""
        for asking in [*self._asking.values()]:
            asking.cancel()
        if self._session is not None:
            await self._session.close()
