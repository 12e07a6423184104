"""A session with a server of a version before 2026-07-28: a handshake, and headers of later requests."""

from collections.abc import Mapping
from typing import Final

from shared.core import Json
from shared.mcp.faults import Refusal
from shared.mcp.transport import Transport

#: The newest of these versions. The server may choose another one.
LEGACY: Final = "2025-11-25"
#: What servers of all versions read about us.
CLIENT_INFO: Final = {"name": "agent-functions", "version": "1"}
_SESSION: Final = "mcp-session-id"
#: How servers answer a request of a session that they do not know, for example after a restart: 404 (MCP), or 400 with
#: one of these codes or without a code.
_UNKNOWN_SESSION: Final = frozenset((None, -32000, -32001, -32600))


class Session:
    """The session of one process, which all of its requests share. A server without sessions has only a version."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        #: The headers of requests, since the handshake.
        self._headers: Mapping[str, str] | None = None

    @property
    def is_open(self) -> bool:
        """Whether the server has accepted the handshake."""
        return self._headers is not None

    async def request(self, method: str, params: Json, headers: Mapping[str, str]) -> Json:
        """The result of a request. If the server does not know the session, once more in a new one.

        Raises:
            Refusal: the server did not execute it.
            ServerFailed: the server failed.
        """
        current = self._headers or await self._open(headers)
        try:
            result, _ = await self._transport.request(method, params, {**headers, **current})
        except Refusal as refusal:
            if not _is_unknown(refusal, current):
                raise
            if self._headers is current:
                # No other request has started a new session meanwhile.
                self._headers = None
            current = self._headers or await self._open(headers)
            result, _ = await self._transport.request(method, params, {**headers, **current})
        return result

    async def _open(self, headers: Mapping[str, str]) -> Mapping[str, str]:
        params = {
            "protocolVersion": LEGACY,
            "capabilities": {},
            "clientInfo": CLIENT_INFO,
        }
        result, received = await self._transport.request("initialize", params, headers)
        version, id_ = result.get("protocolVersion"), received.get(_SESSION)
        opened = {"mcp-protocol-version": version if isinstance(version, str) else LEGACY}
        if id_:
            opened[_SESSION] = id_
        await self._transport.notify("notifications/initialized", {**headers, **opened})
        self._headers = opened
        return opened


def _is_unknown(refusal: Refusal, headers: Mapping[str, str]) -> bool:
    if _SESSION not in headers:
        return False
    return refusal.status == 404 or (refusal.status == 400 and refusal.code in _UNKNOWN_SESSION)
