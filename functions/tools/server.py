"""The methods of the MCP server: list the tools of a caller, and call them."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

from functions.tools import mcp
from functions.tools.caller import Caller
from functions.tools.calls import Call, Calls, error_result
from functions.tools.elicitation import Notify, Questions, answers_of
from functions.tools.state import States
from shared.agents import FunctionTool, InputRequired, Progress
from shared.core import APPROVAL, CALL_ID, Json, Unauthorized, clean, logger

#: Returns the result of one method.
Method = Callable[[mcp.Request, Caller, Notify], Awaitable[Json]]

_LIST_SECONDS = 30
#: How often a tool can ask questions in one call, if its client gets them on the call's stream.
_ROUNDS = 8


class Server:
    """MCP over a set of tools. `methods` are further methods by name; `capabilities` are those that they declare."""

    def __init__(
        self,
        tools: Mapping[str, FunctionTool],
        calls: Calls,
        methods: Mapping[str, Method] | None = None,
        capabilities: Json | None = None,
    ) -> None:
        self._tools = tools
        self._calls = calls
        self._states = States(calls.settings)
        self._questions = Questions()
        self._running: set[asyncio.Task[Json]] = set()
        self._capabilities: Json = {"tools": {}, **(capabilities or {})}
        self._methods: dict[str, Method] = {
            "initialize": self._initialize,
            "ping": self._ping,
            "server/discover": self._discover,
            "tools/list": self._list,
            "tools/call": self._call,
            **(methods or {}),
        }

    def handle(self, request: mcp.Request, caller: Caller, notify: Notify) -> asyncio.Task[Json]:
        """Start a request. The task returns the response, or raises `mcp.Fault`; cancel it to end the call."""
        task = asyncio.ensure_future(self._respond(request, caller, notify))
        # If its client disconnects, a call runs until it has handled its cancellation.
        self._running.add(task)
        task.add_done_callback(self._forget)
        return task

    def _forget(self, task: asyncio.Task[Json]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            # Retrieve the exception: if the client has left, nothing else does, and asyncio would log it.
            task.exception()

    def take(self, reply: mcp.Reply, caller: Caller) -> None:
        """Pass a client's reply to the call that waits for it."""
        self._questions.take(reply, caller)

    @property
    def is_idle(self) -> bool:
        """Whether no call is in progress."""
        return not self._running

    async def close(self) -> None:
        """End all calls."""
        running = [*self._running]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _respond(self, request: mcp.Request, caller: Caller, notify: Notify) -> Json:
        method = self._methods.get(request.method) if request.is_known else None
        if method is None:
            raise request.fault(mcp.UNKNOWN_METHOD, "Method not found.")
        return mcp.answer(request, await method(request, caller, notify))

    async def _initialize(self, request: mcp.Request, caller: Caller, notify: Notify) -> Json:
        del caller, notify
        return mcp.initialize_result(request, self._capabilities)

    async def _ping(self, request: mcp.Request, caller: Caller, notify: Notify) -> Json:
        del request, caller, notify
        return {}

    async def _discover(self, request: mcp.Request, caller: Caller, notify: Notify) -> Json:
        del caller, notify
        return mcp.discover_result(request, self._capabilities)

    async def _list(self, request: mcp.Request, caller: Caller, notify: Notify) -> Json:
        del notify
        # Sorted, so that a client's cache and a model's prompt stay the same.
        tools = [
            _describe(tool) for _, tool in sorted(self._tools.items()) if tool.is_for(caller.user)
        ]
        return mcp.cacheable(request, {"tools": tools}, seconds=_LIST_SECONDS)

    async def _call(self, request: mcp.Request, caller: Caller, notify: Notify) -> Json:
        call = await self._read_call(request, caller, notify)
        for _ in range(_ROUNDS):
            outcome = await self._calls.run(call)
            if not isinstance(outcome, InputRequired):
                return outcome
            if request.is_modern:
                return self._input_required(request, call, outcome)
            call = await self._ask_on_stream(request, call, outcome, notify)
        return error_result("The tool has too many questions for its user.")

    async def _read_call(self, request: mcp.Request, caller: Caller, notify: Notify) -> Call:
        name, arguments = request.params.get("name"), request.params.get("arguments", {})
        responses = request.params.get("inputResponses", {})
        if not isinstance(name, str) or not isinstance(arguments, dict):
            raise request.fault(mcp.INVALID_PARAMS, "`name` is a text, `arguments` an object.")
        if not isinstance(responses, dict):
            raise request.fault(mcp.INVALID_PARAMS, "`inputResponses` is an object.")
        if (tool := self._tools.get(name)) is None:
            await self._calls.audit(caller, name, arguments, "error")
            raise request.fault(mcp.INVALID_PARAMS, "Unknown tool.")
        return Call(
            tool=tool,
            arguments=arguments,
            caller=caller,
            progress=_progress(request, notify),
            key=_key(request),
            answers=answers_of(responses),
            state=self._state(request, caller, name, arguments),
            capabilities=request.capabilities,
        )

    def _state(self, request: mcp.Request, caller: Caller, tool: str, arguments: Json) -> Any:
        sealed = request.params.get("requestState")
        if sealed is None:
            return None
        try:
            return self._states.open(sealed, caller.user.id, tool, arguments)
        except Unauthorized as error:
            logger.info("state.refused", extra={"tool": tool, "reason": error.reason})
            message = "`requestState` does not belong to this call, or it has expired."
            raise request.fault(mcp.INVALID_PARAMS, message) from None

    def _input_required(self, request: mcp.Request, call: Call, outcome: InputRequired) -> Json:
        """The result that contains the tool's questions. The client repeats the call with the answers."""
        if missing := request.lacks(outcome.questions):
            data: Json = {"requiredCapabilities": {name: {} for name in sorted(missing)}}
            message = "The tool has a question that the client cannot answer."
            raise request.fault(mcp.MISSING_CAPABILITY, message, data)
        if outcome.state is None:
            return mcp.input_required(outcome.questions, None)
        if not self._states.can_sign:
            return error_result("This tool is not set up here: INTERNAL_SIGNING_KEY is not set.")
        state = self._states.seal(
            outcome.state, call.caller.user.id, call.tool.name, call.arguments
        )
        return mcp.input_required(outcome.questions, state)

    async def _ask_on_stream(
        self, request: mcp.Request, call: Call, outcome: InputRequired, notify: Notify
    ) -> Call:
        """Send the tool's questions on the client's stream. Returns the call with the answers."""
        answers = None
        if not request.lacks(outcome.questions):
            answers = await self._questions.ask(outcome.questions, call.caller, notify)
        return replace(call, answers=answers, state=outcome.state)


def _progress(request: mcp.Request, notify: Notify) -> Progress:
    loop, last = asyncio.get_running_loop(), -math.inf

    def send(done: float, total: float | None, message: str | None) -> None:
        nonlocal last
        # Progress must only increase (MCP); a client may end a call whose progress goes back.
        if request.progress_token is not None and done > last:
            last = done
            notify(mcp.progress(request, done, total, message))

    def progress(done: float, total: float | None = None, message: str | None = None) -> None:
        # A plain function reports from its thread.
        loop.call_soon_threadsafe(send, done, total, message)

    return progress


def _key(request: mcp.Request) -> str | None:
    key = request.meta.get(CALL_ID)
    return clean(key)[:128] if isinstance(key, str) and key else None


def _describe(tool: FunctionTool) -> Json:
    description: Json = {
        "name": tool.name,
        "title": tool.title,
        "description": tool.description,
        "inputSchema": tool.input_schema,
        "annotations": {
            "readOnlyHint": tool.read_only,
            "idempotentHint": tool.idempotent or tool.read_only,
            "destructiveHint": tool.destructive,
            "openWorldHint": tool.open_world,
        },
    }
    if schema := tool.output_schema:
        description["outputSchema"] = schema
    if tool.approval:
        description["_meta"] = {APPROVAL: tool.approval}
    return description
