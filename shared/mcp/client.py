"""MCP as a client (modelcontextprotocol.io): Streamable HTTP of 2026-07-28, or of 2025-11-25 for older servers.

One response per request: it keeps no streams open and answers no requests of servers.
"""

from base64 import b64encode
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any, Final

import orjson

from shared.agents import Progress
from shared.core import Json
from shared.mcp.answers import ServerFailed, answer_of

MODERN: Final = "2026-07-28"
LEGACY: Final = "2025-11-25"
_META = "io.modelcontextprotocol/"
_PAGES = 20
#: How older servers reject a request without a session: with these JSON-RPC codes, or these statuses without a code.
_NOT_MODERN = frozenset((-32022, -32600, -32601, -32602, -32000))
_EMPTY_REFUSALS = frozenset((400, 404, 405, 406))


class _Refusal(Exception):
    """The server answered with a JSON-RPC error, or with no JSON-RPC at all."""

    def __init__(self, status: int, code: int | None, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class Client:
    """One server. `http` returns the process's `aiohttp.ClientSession`."""

    def __init__(self, url: str, http: Callable[[], Any]) -> None:
        self._url = url
        self._http = http
        self._ids = count(1)
        #: What gets the reports of the calls in progress, by their tokens.
        self._progress: dict[str, Progress] = {}
        self._is_modern = self._is_legacy = False
        self._session_id: str | None = None

    async def list_tools(self, headers: Mapping[str, str]) -> list[Json]:
        """All tools, page after page.

        Raises:
            ServerFailed: the server failed. The caller sets the time limit.
        """
        tools: list[Json] = []
        cursor: Json = {}
        for _ in range(_PAGES):
            result = await self._request("tools/list", cursor, headers)
            tools += [tool for tool in result.get("tools") or () if isinstance(tool, dict)]
            if not result.get("nextCursor"):
                break
            cursor = {"cursor": result["nextCursor"]}
        return tools

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
        token = f"progress-{next(self._ids)}"
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
                except _Refusal as refusal:
                    # This rejection means that the request was not executed, so it can be sent in the older protocol.
                    if self._is_modern or not _may_be_older(refusal):
                        raise
                    self._is_legacy = True
            return await self._request_legacy(method, params, headers)
        except _Refusal as refusal:
            raise ServerFailed(str(refusal)) from None

    async def _request_modern(self, method: str, params: Json, headers: Mapping[str, str]) -> Json:
        # Of a server's questions, only forms are supported.
        meta = {
            f"{_META}protocolVersion": MODERN,
            f"{_META}clientCapabilities": {"elicitation": {"form": {}}},
            f"{_META}clientInfo": {"name": "agent-functions", "version": "1"},
            **(params.get("_meta") or {}),
        }
        mcp_headers = {"mcp-protocol-version": MODERN, "mcp-method": method}
        if name := params.get("name"):
            mcp_headers["mcp-name"] = name if name.isascii() else _encode(name)
        result, _ = await self._post(method, {**params, "_meta": meta}, {**headers, **mcp_headers})
        return result

    async def _request_legacy(self, method: str, params: Json, headers: Mapping[str, str]) -> Json:
        if self._session_id is None:
            await self._initialize(headers)
        try:
            result, _ = await self._post(method, params, {**headers, **self._session_headers()})
        except _Refusal as refusal:
            if refusal.status != 404 or not self._session_id:
                raise
            # The session has expired.
            await self._initialize(headers)
            result, _ = await self._post(method, params, {**headers, **self._session_headers()})
        return result

    async def _initialize(self, headers: Mapping[str, str]) -> None:
        params = {
            "protocolVersion": LEGACY,
            "capabilities": {},
            "clientInfo": {"name": "agent-functions", "version": "1"},
        }
        _, response_headers = await self._post("initialize", params, headers)
        self._session_id = response_headers.get("mcp-session-id", "")
        notification = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        async with self._send(notification, {**headers, **self._session_headers()}):
            pass

    def _session_headers(self) -> dict[str, str]:
        session = {"mcp-session-id": self._session_id} if self._session_id else {}
        return {"mcp-protocol-version": LEGACY, **session}

    async def _post(
        self, method: str, params: Json, headers: Mapping[str, str]
    ) -> tuple[Json, Mapping[str, str]]:
        id_ = next(self._ids)
        body = {"jsonrpc": "2.0", "id": id_, "method": method, "params": params}
        async with self._send(body, headers) as response:
            answer = await answer_of(response, id_, self._take_notification)
            if answer is None and response.status >= 500:
                # A proxy may have forwarded the request before it answered, so treat it as a broken connection.
                response.raise_for_status()
            if answer is None:
                raise _Refusal(response.status, None, f"The server answered {response.status}.")
            if error := answer.get("error"):
                code = error.get("code") if isinstance(error, dict) else None
                raise _Refusal(response.status, code, f"The server answered the error {code}.")
            result = answer.get("result")
            if not isinstance(result, dict):
                raise ServerFailed("The server's answer is not one of MCP.")
            return result, response.headers

    def _send(self, body: Json, headers: Mapping[str, str]) -> Any:
        media_types = {
            "content-type": "application/json",
            "accept": "application/json, text/event-stream",
        }
        return self._http().post(
            self._url,
            data=orjson.dumps(body),
            headers={**headers, **media_types},
            allow_redirects=False,
        )


def _may_be_older(refusal: _Refusal) -> bool:
    if refusal.code is None:
        return refusal.status in _EMPTY_REFUSALS
    return refusal.code in _NOT_MODERN


def _encode(name: str) -> str:
    return f"=?base64?{b64encode(name.encode()).decode()}?="
