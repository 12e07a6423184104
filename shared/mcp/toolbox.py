"""The tools of MCP servers in one run."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from functools import partial
from typing import Any

import orjson

from shared.agents import (
    Approval,
    CallRequest,
    Question,
    Result,
    Tool,
    contents_of,
    question_of,
    shorten,
)
from shared.core import APPROVAL, CALL_ID, OUTCOME, Json, ToolSettings, logger
from shared.mcp.client import Client
from shared.mcp.faults import ServerFailed
from shared.mcp.servers import Server
from shared.models import hashed_name, model_name

#: How many requests one call may take.
_MAX_REQUESTS = 3
_RETRY_SECONDS = 0.3
_TIMED_OUT = "The tool did not answer in time; the call may or may not have had its effect."
#: Makes the headers of a request to this server on behalf of the run's user.
MakeHeaders = Callable[[Server], Mapping[str, str]]
#: Holds a slot for the call with this id, which limits a user's concurrent calls.
HoldSlot = Callable[[str], AbstractAsyncContextManager[None]]
#: Sends a call with these headers.
SendCall = Callable[..., Awaitable[Json]]


class McpToolbox:
    """The tools of one run, by the names that its model sees."""

    def __init__(
        self,
        tool_lists: Sequence[tuple[Server, Client, Sequence[Json]]],
        make_headers: MakeHeaders,
        hold_slot: HoldSlot,
        settings: ToolSettings,
    ) -> None:
        self.tools: dict[str, Tool] = {}
        self._routes: dict[str, tuple[Server, Client, str]] = {}
        self._make_headers = make_headers
        self._hold_slot = hold_slot
        self._seconds = settings.tool_seconds
        self._characters = settings.tool_result_characters
        for server, client, tools in tool_lists:
            for place, tool in enumerate(tools, 1):
                self._add(server, client, tool, place)

    def _add(self, server: Server, client: Client, definition: Json, place: int) -> None:
        server_tool = definition.get("name")
        if not isinstance(server_tool, str) or not (
            server.tools is None or server_tool in server.tools
        ):
            return
        named = f"{server.name}_{server_tool}"
        candidates = (model_name(server_tool), model_name(named), hashed_name(named))
        name = next((name for name in candidates if name not in self.tools), None)
        if name is None:
            logger.warning("tool.left_out", extra={"server": server.name, "tool": server_tool[:80]})
            return
        is_chosen = server.is_ours or server.tools is not None
        tool = _tool(server, name, server_tool, definition)
        self.tools[name] = replace(tool, priority=0 if is_chosen else place)
        self._routes[name] = (server, client, server_tool)

    async def call(self, request: CallRequest) -> Result | Question:
        name, call_id = request.name, request.call_id
        server, client, server_tool = self._routes[name]
        params: Json = {
            "name": server_tool,
            "arguments": request.arguments,
            "_meta": {CALL_ID: call_id},
        }
        if request.answer:
            params.update(_response(request.answer))
        is_repeatable = self.tools[name].is_repeatable
        try:
            async with self._hold_slot(call_id), asyncio.timeout(self._seconds):
                send = partial(client.call_tool, params, progress=request.progress)
                result = await self._call_server(server, send, may_repeat=is_repeatable)
        except TimeoutError:
            failure = ServerFailed(_TIMED_OUT, "timed_out", may_have_run=True)
            return _failed(server, server_tool, failure, is_repeatable=is_repeatable)
        except ServerFailed as failure:
            return _failed(server, server_tool, failure, is_repeatable=is_repeatable)
        if result.get("resultType") == "input_required":
            return _question(result)
        return _result(result, self._characters, is_ours=server.is_ours)

    async def _call_server(self, server: Server, send: SendCall, *, may_repeat: bool) -> Json:
        """The result of a call, which is made again if it had no effect or may be repeated.

        Raises:
            ServerFailed: the last request failed, or one that cannot be repeated.
        """
        for request_number in range(1, _MAX_REQUESTS):
            # New ones for each request: a token may expire before the next one.
            headers = self._make_headers(server)
            try:
                return await send(headers=headers)
            except ServerFailed as error:
                if error.fault != "unreachable" and not (may_repeat and error.may_have_run):
                    raise
            await asyncio.sleep(_RETRY_SECONDS * request_number)
        return await send(headers=self._make_headers(server))


def _failed(server: Server, tool: str, failure: ServerFailed, *, is_repeatable: bool) -> Result:
    """The result of a call that failed. The log line has the facts, and never the server's words."""
    about = {"server": server.name, "tool": tool[:80]}
    logger.warning("tool.failed", extra={**about, **failure.facts})
    is_unknown = failure.may_have_run and not is_repeatable
    return Result(str(failure), "unknown" if is_unknown else "error", failure.fault)


def _tool(server: Server, name: str, server_tool: str, definition: Json) -> Tool:
    description, schema = definition.get("description"), definition.get("inputSchema")
    return Tool(
        name=name,
        description=description if isinstance(description, str) else "",
        parameters=schema if isinstance(schema, dict) else {"type": "object", "properties": {}},
        is_repeatable=_is_repeatable(server, server_tool, definition),
        approval=_approval(server, server_tool, definition),
    )


def _is_repeatable(server: Server, server_tool: str, definition: Json) -> bool:
    if not server.is_ours:
        return server_tool in server.repeatable
    hints = definition.get("annotations") or {}
    return bool(hints.get("readOnlyHint") or hints.get("idempotentHint"))


def _approval(server: Server, server_tool: str, definition: Json) -> Approval:
    if not server.is_ours:
        return server.approval_of(server_tool)
    if policy := server.policy_of(server_tool):
        return policy
    hints, meta = definition.get("annotations") or {}, definition.get("_meta") or {}
    if (approval := meta.get(APPROVAL)) in ("never", "ask", "edit"):
        return approval  # type: ignore[no-any-return]  # one of the three
    # The defaults of MCP.
    is_safe = hints.get("readOnlyHint") or hints.get("destructiveHint") is False
    return "never" if is_safe else "ask"


def _question(result: Json) -> Result | Question:
    """A server's questions to its user (MCP 2026-07-28, multi round-trip requests)."""
    state = {"request_state": result.get("requestState")}
    return question_of(result.get("inputRequests") or {}, state)


def _response(answer: Json) -> Json:
    state = answer["state"]
    contents = contents_of(answer["payload"], state["keys"])
    responses = {key: {"action": "accept", "content": each} for key, each in contents.items()}
    request_state = state["request_state"]
    return {
        "inputResponses": responses,
        **({"requestState": request_state} if request_state is not None else {}),
    }


def _result(result: Json, characters: int, *, is_ours: bool) -> Result:
    texts = [_block(block) for block in result.get("content") or () if isinstance(block, dict)]
    text = "\n".join(texts)
    if not text and "structuredContent" in result:
        text = orjson.dumps(result["structuredContent"]).decode()
    text = shorten(text, characters)
    outcome = (result.get("_meta") or {}).get(OUTCOME) if is_ours else None
    if outcome in ("denied", "unknown"):
        return Result(text, outcome)
    return Result(text, "error" if result.get("isError") else "ok")


def _block(block: Json) -> str:
    match block:
        case {"type": "text", "text": str(text)}:
            return text
        case {"type": "resource", "resource": {"text": str(text)}}:
            return text
        case {"type": "resource_link", "uri": str(uri)}:
            return uri
    kind: Any = block.get("type")
    return f"[{kind if isinstance(kind, str) else 'something'} that cannot be shown here]"
