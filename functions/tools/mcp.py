"""The server side of MCP: JSON-RPC of 2026-07-28, and of 2025-11-25 and before on the same endpoint. Pure.

`read` makes a Request or a Reply of a POST, or raises a Fault; `answer` wraps the result of a method. There are no
sessions, so any process can answer any request. docs: modelcontextprotocol.io/specification/2026-07-28.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, TypeGuard

import orjson

from shared.core import Json

MODERN: Final = "2026-07-28"
LEGACY: Final = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
_META = "io.modelcontextprotocol/"
_VERSION, _CAPABILITIES = f"{_META}protocolVersion", f"{_META}clientCapabilities"
_SERVER = {"name": "agent-functions", "version": "1"}
#: Methods that exist in one era only: since 2026-07-28, and before.
_MODERN_ONLY = frozenset(("server/discover",))
_LEGACY_ONLY = frozenset(
    ("initialize", "ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe")
)
#: The capability that a client needs for each question.
_NEEDS = {
    "elicitation/create": "elicitation",
    "sampling/createMessage": "sampling",
    "roots/list": "roots",
}
#: Methods whose target is repeated in a header, and the parameter that holds it.
_NAME_PARAMETERS = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}

PARSE_ERROR, INVALID_REQUEST, UNKNOWN_METHOD, INVALID_PARAMS = -32700, -32600, -32601, -32602
HEADER_MISMATCH, MISSING_CAPABILITY, UNKNOWN_VERSION = -32020, -32021, -32022


class Fault(Exception):
    """A JSON-RPC error, and the HTTP status of its response."""

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
    """One request. Without an id it is a notification, which gets no answer."""

    id: str | int | None
    method: str
    params: Json
    is_modern: bool
    takes_stream: bool

    @property
    def is_known(self) -> bool:
        """Whether the method exists in this request's era."""
        return self.method not in (_LEGACY_ONLY if self.is_modern else _MODERN_ONLY)

    @property
    def meta(self) -> Json:
        meta = self.params.get("_meta")
        return meta if isinstance(meta, dict) else {}

    @property
    def progress_token(self) -> str | int | None:
        token = self.meta.get("progressToken")
        return token if _is_id(token) else None

    def lacks(self, questions: Mapping[str, Json]) -> frozenset[str]:
        """The capabilities that these questions need and the client did not declare."""
        needed = {_NEEDS[question["method"]] for question in questions.values()}
        return frozenset(needed - self.capabilities)

    @property
    def capabilities(self) -> frozenset[str]:
        """The kinds of questions that the client can answer."""
        if not self.is_modern:
            # It declared them in a handshake, which no session stores; it can refuse a question.
            return frozenset(_NEEDS.values()) if self.takes_stream else frozenset()
        declared = self.meta.get(_CAPABILITIES) or {}
        forms = declared.get("elicitation")
        # `elicitation: {}` means forms; a client may support URLs only.
        without = () if not forms or "form" in forms else ("elicitation",)
        return frozenset(declared) - frozenset(without)

    def fault(self, code: int, message: str, data: Any = None) -> Fault:
        """An error of this request; before 2026-07-28 its status is always 200."""
        status = {UNKNOWN_METHOD: 404, MISSING_CAPABILITY: 400}.get(code, 200)
        return Fault(status if self.is_modern else 200, code, message, data, self.id)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of a client before 2026-07-28 to a question on its stream; `result` is None if it refused."""

    id: str
    result: Json | None


def read(body: bytes, headers: Mapping[str, str]) -> Request | Reply:
    """The message of a POST; header names are in lower case.

    Raises:
        Fault: the body is no message, or the headers do not match it.
    """
    message = _load(body)
    version = headers.get("mcp-protocol-version")
    id_, method, params = message.get("id"), message.get("method"), message.get("params", {})
    if method is None and isinstance(id_, str) and {"result", "error"} & message.keys():
        return _reply(id_, message, version)
    if not isinstance(method, str) or not (_is_id(id_) or "id" not in message):
        raise Fault(400, INVALID_REQUEST, "The body is not a JSON-RPC request.")
    if not isinstance(params, dict):
        raise Fault(400, INVALID_PARAMS, "`params` is an object.", id_=id_)
    takes_stream = "text/event-stream" in headers.get("accept", "")
    is_older = version in (None, *LEGACY) or method == "initialize"  # which any version may send
    request = Request(id_, method, params, not is_older, takes_stream)
    if _VERSION in request.meta:
        request = replace(request, is_modern=True)
    if request.is_modern and id_ is not None:
        _check(request, headers)
    return request


def _load(body: bytes) -> Json:
    try:
        message = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise Fault(400, PARSE_ERROR, "The body is not JSON.") from None
    if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
        raise Fault(400, INVALID_REQUEST, "A body is one JSON-RPC message.")
    try:
        # A body that nests too deep for orjson to write can be neither audited nor sent on; an audit row adds levels.
        orjson.dumps([[[[message]]]])
    except TypeError:
        raise Fault(400, INVALID_REQUEST, "The body nests too deep.") from None
    return message


def _reply(id_: str, message: Json, version: str | None) -> Reply:
    if version == MODERN:
        raise Fault(400, INVALID_REQUEST, "The body is not a JSON-RPC request.")
    result = message.get("result")
    return Reply(id_, result if isinstance(result, dict) else None)


def _is_id(value: object) -> TypeGuard[str | int]:
    return isinstance(value, str | int) and not isinstance(value, bool)


def _check(request: Request, headers: Mapping[str, str]) -> None:
    """Check what 2026-07-28 requires: the version, the capabilities, and headers that match the body."""
    header_version = _header(headers, "mcp-protocol-version")
    body_version = request.meta.get(_VERSION)
    if body_version is None or not isinstance(request.meta.get(_CAPABILITIES), dict):
        raise Fault(
            400, INVALID_PARAMS, f"`_meta` has {_VERSION} and {_CAPABILITIES}.", None, request.id
        )
    if header_version != body_version:
        raise _mismatch(request, "MCP-Protocol-Version")
    if body_version != MODERN:
        data = {"supported": [MODERN, *LEGACY], "requested": body_version}
        raise Fault(400, UNKNOWN_VERSION, "Unsupported protocol version.", data, request.id)
    if _header(headers, "mcp-method") != request.method:
        raise _mismatch(request, "Mcp-Method")
    if name := _NAME_PARAMETERS.get(request.method):
        target = _decode(_header(headers, "mcp-name"))
        if target is None or target != request.params.get(name):
            raise _mismatch(request, "Mcp-Name")


def _mismatch(request: Request, header: str) -> Fault:
    message = f"Header mismatch: {header} is missing, or does not match the body."
    return Fault(400, HEADER_MISMATCH, message, None, request.id)


def _header(headers: Mapping[str, str], name: str) -> str | None:
    # White space around a value is not part of it (RFC 9110 §5.5); uvicorn does not strip it.
    value = headers.get(name)
    return None if value is None else value.strip(" \t")


def _decode(value: str | None) -> str | None:
    if value is None or not (value.startswith("=?base64?") and value.endswith("?=")):
        return value
    try:
        return base64.b64decode(value[9:-2], validate=True).decode()
    except (binascii.Error, ValueError):
        return None


def answer(request: Request, result: Json) -> Json:
    """The message that answers a request. `resultType` and `serverInfo` exist since 2026-07-28."""
    if request.is_modern:
        meta = {**result.get("_meta", {}), f"{_META}serverInfo": _SERVER}
        result = {"resultType": "complete", **result, "_meta": meta}
    return {"jsonrpc": "2.0", "id": request.id, "result": result}


def progress(request: Request, done: float, total: float | None, message: str | None) -> Json:
    """A notification of a call's progress."""
    optional = {"total": total, "message": message}
    params = {
        "progressToken": request.progress_token,
        "progress": done,
        **{name: value for name, value in optional.items() if value is not None},
    }
    return {"jsonrpc": "2.0", "method": "notifications/progress", "params": params}


def input_required(questions: Mapping[str, Json], state: str | None) -> Json:
    """The result with questions: the client makes the call again, with the answers and the state."""
    result: Json = {"resultType": "input_required", "inputRequests": {**questions}}
    return result if state is None else {**result, "requestState": state}


def question(id_: str, question: Json) -> Json:
    """A question to a client before 2026-07-28: a request on its stream."""
    return {"jsonrpc": "2.0", "id": id_, **question}


def cacheable(request: Request, result: Json, *, seconds: int = 0) -> Json:
    """A result with its lifetime in caches. It depends on the caller, so caches must be private."""
    if request.is_modern:
        return {**result, "ttlMs": seconds * 1000, "cacheScope": "private"}
    return result


def initialize_result(request: Request, capabilities: Json) -> Json:
    """The result of `initialize`, the handshake before 2026-07-28. It starts no session."""
    requested = request.params.get("protocolVersion")
    version = requested if requested in LEGACY else LEGACY[0]
    return {"protocolVersion": version, "capabilities": capabilities, "serverInfo": _SERVER}


def discover_result(request: Request, capabilities: Json) -> Json:
    """The result of `server/discover`."""
    versions = [MODERN, *LEGACY]
    return cacheable(request, {"supportedVersions": versions, "capabilities": capabilities})
