"""The wire of MCP as a client speaks it: Streamable HTTP of 2026-07-28, and of 2025-11-25 where a server is older.

One request, one answer: no streams are kept, no server's requests are answered. docs: modelcontextprotocol.io.
"""

from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Mapping
from itertools import count
from typing import Any, Final

import orjson

from shared.core import Json

MODERN: Final = "2026-07-28"
LEGACY: Final = "2025-11-25"
_META = "io.modelcontextprotocol/"
#: An answer beyond this is not read: it would be cut before the model saw it.
_MAX_BYTES = 4 * 1024 * 1024
_PAGES = 20
#: What a server of before 2026-07-28 says to a request without a session: JSON-RPC codes, and statuses without one.
_NOT_MODERN = frozenset((-32022, -32600, -32601, -32602, -32000))
_EMPTY_REFUSALS = frozenset((400, 404, 405, 406))


class ServerFailed(Exception):
    """A server did not answer, or not with what was asked: the message is safe to log and to show to a model."""


class _Refused(Exception):
    """The server answered with a JSON-RPC error, or none at all."""

    def __init__(self, status: int, code: int | None, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class Client:
    """One server. `http` gives the process's `aiohttp.ClientSession`."""

    def __init__(self, url: str, http: Callable[[], Any]) -> None:
        self._url = url
        self._http = http
        self._ids = count(1)
        self._is_modern = self._is_legacy = False
        self._session_id: str | None = None

    async def list_tools(self, headers: Mapping[str, str]) -> list[Json]:
        """All tools, page after page.

        Raises:
            ServerFailed: as named. TimeoutError is the caller's own.
        """
        tools: list[Json] = []
        cursor: Json = {}
        for _ in range(_PAGES):
            result = await self._ask("tools/list", cursor, headers)
            tools += [tool for tool in result.get("tools") or () if isinstance(tool, dict)]
            if not result.get("nextCursor"):
                break
            cursor = {"cursor": result["nextCursor"]}
        return tools

    async def call_tool(self, params: Json, headers: Mapping[str, str]) -> Json:
        """Call a tool: `params` {name, arguments, _meta?, inputResponses?, requestState?}. Returns its result.

        Leaving early closes the connection, which is how MCP cancels.

        Raises:
            ServerFailed: as named.
        """
        return await self._ask("tools/call", params, headers)

    async def _ask(self, method: str, params: Json, headers: Mapping[str, str]) -> Json:
        try:
            if not self._is_legacy:
                try:
                    result = await self._modern(method, params, headers)
                    self._is_modern = True
                    return result
                except _Refused as refused:
                    # What is refused so was not done: it can be asked again, as the server may know it.
                    if self._is_modern or not _may_be_older(refused):
                        raise
                    self._is_legacy = True
            return await self._older(method, params, headers)
        except _Refused as refused:
            raise ServerFailed(str(refused)) from None

    async def _modern(self, method: str, params: Json, headers: Mapping[str, str]) -> Json:
        # Forms are all a user can be asked here.
        meta = {
            f"{_META}protocolVersion": MODERN,
            f"{_META}clientCapabilities": {"elicitation": {"form": {}}},
            f"{_META}clientInfo": {"name": "agent-functions", "version": "1"},
            **(params.get("_meta") or {}),
        }
        mine = {"mcp-protocol-version": MODERN, "mcp-method": method}
        if name := params.get("name"):
            mine["mcp-name"] = name if name.isascii() else _encoded(name)
        result, _ = await self._post(method, {**params, "_meta": meta}, {**headers, **mine})
        return result

    async def _older(self, method: str, params: Json, headers: Mapping[str, str]) -> Json:
        if self._session_id is None:
            await self._initialize(headers)
        try:
            result, _ = await self._post(method, params, {**headers, **self._mine()})
        except _Refused as refused:
            if refused.status != 404 or not self._session_id:
                raise
            # The session is gone, as sessions go.
            await self._initialize(headers)
            result, _ = await self._post(method, params, {**headers, **self._mine()})
        return result

    async def _initialize(self, headers: Mapping[str, str]) -> None:
        params = {
            "protocolVersion": LEGACY,
            "capabilities": {},
            "clientInfo": {"name": "agent-functions", "version": "1"},
        }
        _, answered = await self._post("initialize", params, headers)
        self._session_id = answered.get("mcp-session-id", "")
        note = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        async with self._send(note, {**headers, **self._mine()}):
            pass

    def _mine(self) -> dict[str, str]:
        session = {"mcp-session-id": self._session_id} if self._session_id else {}
        return {"mcp-protocol-version": LEGACY, **session}

    async def _post(
        self, method: str, params: Json, headers: Mapping[str, str]
    ) -> tuple[Json, Mapping[str, str]]:
        id_ = next(self._ids)
        body = {"jsonrpc": "2.0", "id": id_, "method": method, "params": params}
        async with self._send(body, headers) as response:
            answer = await _answer(response, id_)
            if answer is None and response.status >= 500:
                # Whoever stands between may have passed the request on: as good as a connection that broke.
                response.raise_for_status()
            if answer is None:
                raise _Refused(response.status, None, f"The server answered {response.status}.")
            if error := answer.get("error"):
                code = error.get("code") if isinstance(error, dict) else None
                raise _Refused(response.status, code, f"The server answered the error {code}.")
            result = answer.get("result")
            if not isinstance(result, dict):
                raise ServerFailed("The server's answer is not one of MCP.")
            return result, response.headers

    def _send(self, body: Json, headers: Mapping[str, str]) -> Any:
        kinds = {
            "content-type": "application/json",
            "accept": "application/json, text/event-stream",
        }
        return self._http().post(
            self._url,
            data=orjson.dumps(body),
            headers={**headers, **kinds},
            allow_redirects=False,
        )


def _may_be_older(refused: _Refused) -> bool:
    if refused.code is None:
        return refused.status in _EMPTY_REFUSALS
    return refused.code in _NOT_MODERN


def _encoded(name: str) -> str:
    return f"=?base64?{b64encode(name.encode()).decode()}?="


async def _answer(response: Any, id_: int) -> Json | None:
    """The JSON-RPC answer of a response, which is JSON or one of a stream's events; None where there is none."""
    if response.content_type == "text/event-stream":
        async for data in _events(response.content):
            if (message := _load(data)) and message.get("id") == id_ and "method" not in message:
                return message
        return None
    return _load(await _read(response.content))


async def _read(content: Any) -> bytes:
    body = bytearray()
    async for chunk in content.iter_any():
        body += chunk
        if len(body) > _MAX_BYTES:
            raise ServerFailed("The server's answer is too large.")
    return bytes(body)


async def _events(content: Any) -> AsyncIterator[bytes]:
    """The data of server-sent events (WHATWG HTML §9.2)."""
    rest, data, size = b"", [], 0
    async for chunk in content.iter_any():
        size += len(chunk)
        if size > _MAX_BYTES:
            raise ServerFailed("The server's answer is too large.")
        *lines, rest = (rest + chunk).split(b"\n")
        for line in (line.rstrip(b"\r") for line in lines):
            if line.startswith(b"data:"):
                data.append(line[5:].removeprefix(b" "))
            elif not line and data:
                yield b"\n".join(data)
                data = []


def _load(data: bytes) -> Json | None:
    try:
        loaded = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    return loaded if isinstance(loaded, dict) else None
