"""MCP as a server speaks it: JSON-RPC of 2026-07-28, and of 2025-11-25 and before on the same endpoint. Pure.

`read` makes a Request of a POST or raises a Fault; what a method answers is wrapped by `answer`. No session is kept, so
any replica answers any request. docs: modelcontextprotocol.io/specification/2026-07-28.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from shared.contracts import Json

MODERN: Final = "2026-07-28"
LEGACY: Final = ("2025-11-25", "2025-06-18", "2025-03-26")
_META = "io.modelcontextprotocol/"
_VERSION, _CAPABILITIES = f"{_META}protocolVersion", f"{_META}clientCapabilities"
_SERVER = {"name": "agent-functions", "version": "1"}
#: Methods whose target is a header too.
_NAMED = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}

PARSE_ERROR, INVALID_REQUEST, UNKNOWN_METHOD, INVALID_PARAMS = -32700, -32600, -32601, -32602
HEADER_MISMATCH, MISSING_CAPABILITY, UNKNOWN_VERSION = -32020, -32021, -32022


class Fault(Exception):
    """A JSON-RPC error, and the status it is sent with."""

    def __init__(
        self, status: int, code: int, message: str, data: Any = None, id_: Any = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body: Json = {
            "jsonrpc": "2.0",
            "id": id_,
            "error": {"code": code, "message": message, **({} if data is None else {"data": data})},
        }


@dataclass(frozen=True, slots=True)
class Request:
    """One request. Without an id it is a notification, which is accepted and not answered."""

    id: str | int | None
    method: str
    params: Json
    is_modern: bool

    @property
    def meta(self) -> Json:
        meta = self.params.get("_meta")
        return meta if isinstance(meta, dict) else {}

    @property
    def progress_token(self) -> str | int | None:
        token = self.meta.get("progressToken")
        return token if isinstance(token, str | int) else None

    def can(self, capability: str) -> bool:
        """Whether the client declared it."""
        return capability in (self.meta.get(_CAPABILITIES) or {})

    def fault(self, code: int, message: str, data: Any = None) -> Fault:
        """An error of this request: of before 2026-07-28 all have status 200."""
        status = {UNKNOWN_METHOD: 404, MISSING_CAPABILITY: 400}.get(code, 200)
        return Fault(status if self.is_modern else 200, code, message, data, self.id)


def read(body: bytes, headers: Mapping[str, str]) -> Request:
    """The request of a POST; header names in lower case.

    Raises:
        Fault: it is none, or its headers say other things than its body.
    """
    try:
        message = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise Fault(400, PARSE_ERROR, "The body is not JSON.") from None
    if not isinstance(message, dict):
        raise Fault(400, INVALID_REQUEST, "A body is one JSON-RPC message.")
    id_, method, params = message.get("id"), message.get("method"), message.get("params", {})
    is_id = id_ is None or (isinstance(id_, str | int) and not isinstance(id_, bool))
    if message.get("jsonrpc") != "2.0" or not isinstance(method, str) or not is_id:
        raise Fault(400, INVALID_REQUEST, "The body is not a JSON-RPC request.")
    if not isinstance(params, dict):
        raise Fault(400, INVALID_PARAMS, "`params` is an object.", id_=id_)
    named = headers.get("mcp-protocol-version")
    meta = params.get("_meta") if isinstance(params.get("_meta"), dict) else {}
    is_modern = _VERSION in (meta or {}) or not (named is None or named in LEGACY)
    request = Request(id_, method, params, is_modern)
    if is_modern and id_ is not None:
        _check(request, headers)
    return request


def _check(request: Request, headers: Mapping[str, str]) -> None:
    """What 2026-07-28 asks of every request: its version and capabilities, and headers that repeat the body."""
    given, wanted = headers.get("mcp-protocol-version"), request.meta.get(_VERSION)
    if wanted is None or not isinstance(request.meta.get(_CAPABILITIES), dict):
        raise Fault(
            400, INVALID_PARAMS, f"`_meta` has {_VERSION} and {_CAPABILITIES}.", None, request.id
        )
    if given != wanted:
        raise _mismatch(request, "MCP-Protocol-Version")
    if wanted != MODERN:
        data = {"supported": [MODERN, *LEGACY], "requested": wanted}
        raise Fault(400, UNKNOWN_VERSION, "Unsupported protocol version.", data, request.id)
    if headers.get("mcp-method") != request.method:
        raise _mismatch(request, "Mcp-Method")
    if name := _NAMED.get(request.method):
        told = _decoded(headers.get("mcp-name"))
        if told is None or told != request.params.get(name):
            raise _mismatch(request, "Mcp-Name")


def _mismatch(request: Request, header: str) -> Fault:
    message = f"Header mismatch: {header} is missing, or is not what the body says."
    return Fault(400, HEADER_MISMATCH, message, None, request.id)


def _decoded(value: str | None) -> str | None:
    if value is None or not (value.startswith("=?base64?") and value.endswith("?=")):
        return value
    try:
        return base64.b64decode(value[9:-2], validate=True).decode()
    except (binascii.Error, ValueError):
        return None


def answer(request: Request, result: Json) -> Json:
    """The message that answers a request. `resultType` and who answers are of 2026-07-28."""
    if request.is_modern:
        meta = {**result.get("_meta", {}), f"{_META}serverInfo": _SERVER}
        result = {"resultType": "complete", **result, "_meta": meta}
    return {"jsonrpc": "2.0", "id": request.id, "result": result}


def progress(request: Request, done: float, total: float | None, message: str | None) -> Json:
    """A notification of how far a call is."""
    more = {"total": total, "message": message}
    params = {
        "progressToken": request.progress_token,
        "progress": done,
        **{name: value for name, value in more.items() if value is not None},
    }
    return {"jsonrpc": "2.0", "method": "notifications/progress", "params": params}


def cached(request: Request, result: Json, *, seconds: int = 0) -> Json:
    """A list's result: how long it may be kept, and by whom; it depends on who asks."""
    if request.is_modern:
        return {**result, "ttlMs": seconds * 1000, "cacheScope": "private"}
    return result


def initialized(request: Request, capabilities: Json) -> Json:
    """The answer to `initialize`, the handshake of before 2026-07-28: no session comes of it."""
    asked = request.params.get("protocolVersion")
    version = asked if asked in LEGACY else LEGACY[0]
    return {"protocolVersion": version, "capabilities": capabilities, "serverInfo": _SERVER}


def discovered(request: Request, capabilities: Json) -> Json:
    """The answer to `server/discover`."""
    versions = [MODERN, *LEGACY]
    return cached(request, {"supportedVersions": versions, "capabilities": capabilities})
