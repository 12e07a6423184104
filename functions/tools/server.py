"""The methods of the server: what tools there are for a caller, and calling them."""

from collections.abc import Awaitable, Callable, Mapping

from functions.tools import mcp
from functions.tools.calls import Asked, Calls
from functions.tools.tool import Ask, Caller, Tool
from shared.contracts import APPROVAL, CALL_ID, Json, clean

#: Sends a notification about the request that is being answered.
Notify = Callable[[Json], Awaitable[None]]
#: Answers one method: its result.
Method = Callable[[mcp.Request, Caller, Notify], Awaitable[Json]]

_LIST_SECONDS = 30


class Server:
    """MCP over a set of tools. `methods` are further ones, by name; `capabilities` what they need declared."""

    def __init__(
        self,
        tools: Mapping[str, Tool],
        calls: Calls,
        methods: Mapping[str, Method] | None = None,
        capabilities: Json | None = None,
    ) -> None:
        self._tools = tools
        self._calls = calls
        self._capabilities: Json = {"tools": {}, **(capabilities or {})}
        self._methods: dict[str, Method] = {
            "initialize": self._initialize,
            "ping": self._ping,
            "server/discover": self._discover,
            "tools/list": self._list,
            "tools/call": self._call,
            **(methods or {}),
        }

    async def handle(self, request: mcp.Request, caller: Caller, notify: Notify) -> Json:
        """The message that answers a request.

        Raises:
            mcp.Fault: it names no method, or its parameters have not the method's shape.
        """
        method = self._methods.get(request.method)
        if method is None:
            raise request.fault(mcp.UNKNOWN_METHOD, "Method not found.")
        return mcp.answer(request, await method(request, caller, notify))

    async def _initialize(self, request: mcp.Request, caller: Caller, notify: Notify) -> Json:
        del caller, notify
        return mcp.initialized(request, self._capabilities)

    async def _ping(self, request: mcp.Request, caller: Caller, notify: Notify) -> Json:
        del request, caller, notify
        return {}

    async def _discover(self, request: mcp.Request, caller: Caller, notify: Notify) -> Json:
        del caller, notify
        return mcp.discovered(request, self._capabilities)

    async def _list(self, request: mcp.Request, caller: Caller, notify: Notify) -> Json:
        del notify
        # In a fixed order, so that a client's cache and a model's prompt stay the same.
        mine = [_described(tool) for _, tool in sorted(self._tools.items()) if tool.is_for(caller)]
        return mcp.cached(request, {"tools": mine}, seconds=_LIST_SECONDS)

    async def _call(self, request: mcp.Request, caller: Caller, notify: Notify) -> Json:
        name, arguments = request.params.get("name"), request.params.get("arguments", {})
        tool = self._tools.get(name) if isinstance(name, str) else None
        if tool is None:
            raise request.fault(mcp.INVALID_PARAMS, "Unknown tool.")
        if not isinstance(arguments, dict):
            raise request.fault(mcp.INVALID_PARAMS, "`arguments` is an object.")

        async def progress(done: float, total: float | None, message: str | None) -> None:
            if request.progress_token is not None:
                await notify(mcp.progress(request, done, total, message))

        asked = Asked(tool, arguments, caller, _key(request), _answers(request), progress)
        outcome = await self._calls.run(asked)
        if isinstance(outcome, Ask):
            return _questions(request, outcome)
        return outcome


def _key(request: mcp.Request) -> str | None:
    key = request.meta.get(CALL_ID)
    return clean(key)[:128] if isinstance(key, str) and key else None


def _answers(request: mcp.Request) -> dict[str, Json]:
    """What the user said to the tool's questions, where they said something."""
    given = request.params.get("inputResponses")
    return {
        key: response.get("content") or {}
        for key, response in (given.items() if isinstance(given, dict) else ())
        if isinstance(response, dict) and response.get("action") == "accept"
    }


def _questions(request: mcp.Request, asked: Ask) -> Json:
    if not request.is_modern or not request.can("elicitation"):
        data: Json = {"requiredCapabilities": {"elicitation": {"form": {}}}}
        raise request.fault(
            mcp.MISSING_CAPABILITY, "The tool asks its user, and the client cannot.", data
        )
    return {
        "resultType": "input_required",
        "inputRequests": {
            key: {
                "method": "elicitation/create",
                "params": {"mode": "form", "message": message, "requestedSchema": schema},
            }
            for key, (message, schema) in asked.questions.items()
        },
    }


def _described(tool: Tool) -> Json:
    described: Json = {
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
        described["outputSchema"] = schema
    if tool.approval:
        described["_meta"] = {APPROVAL: tool.approval}
    return described
