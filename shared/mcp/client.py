"""MCP as a client (modelcontextprotocol.io): Streamable HTTP of 2026-07-28, and of earlier versions."""

from base64 import b64encode
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any, Final

from shared.agents import Progress
from shared.core import Json
from shared.mcp.faults import Refusal
from shared.mcp.session import CLIENT_INFO, Session
from shared.mcp.transport import Transport

MODERN: Final = "2026-07-28"
_META: Final = "io.modelcontextprotocol/"
#: More than any server has: its time limit ends a list that does not end.
_MOST_PAGES: Final = 10_000
#: How older servers reject a request without a session: with these JSON-RPC codes, or these statuses without a code.
_NOT_MODERN: Final = frozenset((-32022, -32600, -32601, -32602, -32000, -32001))
_EMPTY_REFUSALS: Final = frozenset((400, 404, 405, 406))
#: Codes of them that a server of 2026-07-28 also has for a request that it understood.
_ORDINARY: Final = frozenset((-32601, -32602))


class Client:
    """One server. `http` returns the process's `aiohttp.ClientSession`.

    One response per request: it keeps no streams open.
    """

    def __init__(self, url: str, http: Callable[[], Any]) -> None:
        self._transport = Transport(url, http, self._take_notification)
        self._session = Session(self._transport)
        self._tokens = count(1)
        #: What gets the reports of the calls in progress, by their tokens.
        self._progress: dict[str, Progress] = {}
        self._is_modern = self._is_legacy = False

    async def list_tools(self, headers: Mapping[str, str]) -> list[Json]:
        """All tools, page after page, each name once.

        Raises:
            ServerFailed: the server failed. The caller sets the time limit.
        """
        tools: dict[str, Json] = {}
        cursors: set[str] = set()
        params: Json = {}
        for _ in range(_MOST_PAGES):
            result = await self._request("tools/list", params, headers)
            page = _by_name(result.get("tools"))
            repeats = bool(page) and page.keys() <= tools.keys()
            tools |= page
            cursor = result.get("nextCursor")
            if not isinstance(cursor, str) or not cursor or cursor in cursors or repeats:
                break
            cursors.add(cursor)
            params = {"cursor": cursor}
        return [*tools.values()]

    async def call_tool(
        self, params: Json, headers: Mapping[str, str], progress: Progress | None = None
    ) -> Json:
        """Call a tool: `params` {name, arguments, _meta?, inputResponses?, requestState?}. Returns its result.

        `progress` gets the call's reports. A cancelled call closes the connection, which is how MCP cancels.

        Raises:
            ServerFailed: the server failed.
        """
        if progress is None:
            return await self._request("tools/call", params, headers)
        token = f"progress-{next(self._tokens)}"
        meta = {**(params.get("_meta") or {}), "progressToken": token}
        self._progress[token] = progress
        try:
            return await self._request("tools/call", {**params, "_meta": meta}, headers)
        finally:
            del self._progress[token]

    def _take_notification(self, message: Json) -> None:
        """Report the progress of a call; other notifications are ignored."""
        match message:
            case {
                "method": "notifications/progress",
                "params": {"progressToken": str(token), "progress": int() | float() as done} as at,
            } if report := self._progress.get(token):
                total, text = at.get("total"), at.get("message")
                report(
                    done,
                    total if isinstance(total, int | float) else None,
                    text if isinstance(text, str) else None,
                )

    async def _request(self, method: str, params: Json, headers: Mapping[str, str]) -> Json:
        try:
            if not self._is_legacy:
                try:
                    result = await self._request_modern(method, params, headers)
                    self._is_modern = True
                    return result
                except Refusal as refusal:
                    # This rejection means that the request was not executed, so it can be sent in the older protocol.
                    if not _may_be_older(refusal, was_modern=self._is_modern):
                        raise
            result = await self._session.request(method, params, headers)
            self._is_modern, self._is_legacy = False, True
            return result
        except Refusal as refusal:
            # A server may be replaced by one of another version: if it refuses the handshake, the next request is again
            # one of 2026-07-28.
            self._is_legacy = self._session.is_open
            raise refusal.failure() from None

    async def _request_modern(self, method: str, params: Json, headers: Mapping[str, str]) -> Json:
        # Of a server's questions, only forms are supported.
        meta = {
            f"{_META}protocolVersion": MODERN,
            f"{_META}clientCapabilities": {"elicitation": {"form": {}}},
            f"{_META}clientInfo": CLIENT_INFO,
            **(params.get("_meta") or {}),
        }
        mcp_headers = {"mcp-protocol-version": MODERN, "mcp-method": method}
        if name := params.get("name"):
            mcp_headers["mcp-name"] = name if name.isascii() else _encode(name)
        result, _ = await self._transport.request(
            method, {**params, "_meta": meta}, {**headers, **mcp_headers}
        )
        return result


def _by_name(tools: object) -> dict[str, Json]:
    listed = tools if isinstance(tools, list) else []
    return {
        tool["name"]: tool
        for tool in listed
        if isinstance(tool, dict) and isinstance(tool.get("name"), str)
    }


def _may_be_older(refusal: Refusal, *, was_modern: bool) -> bool:
    if refusal.code is None:
        return refusal.status in _EMPTY_REFUSALS
    return refusal.code in _NOT_MODERN - (_ORDINARY if was_modern else frozenset())


def _encode(name: str) -> str:
    return f"=?base64?{b64encode(name.encode()).decode()}?="
