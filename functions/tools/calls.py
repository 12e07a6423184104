"""Run a tool: check the caller and the arguments, hand over the declared settings, limit the time, write the audit."""

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import orjson

from functions.tools.caller import Caller
from shared.agents import (
    Denied,
    FunctionTool,
    InputRequired,
    Progress,
    ToolContext,
    ToolError,
    failure_of,
    settings_of,
)
from shared.core import OUTCOME, Json, Settings, canonical, clean, logger, to_the_end
from shared.database import Database

#: A larger result is an error: clients limit what they read, and ours stop at four times as much.
_MAX_BYTES = 1024 * 1024


class McpResult(dict[str, Any]):
    """A tool's result in MCP's own shape, {content: [...]}: for images, audio and resources."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call as the client requested it. `key` is its idempotency key, if the client gave one; `answers` is None if the
    user refused to answer."""

    tool: FunctionTool
    arguments: Json
    caller: Caller
    progress: Progress
    key: str | None = None
    answers: Mapping[str, Json] | None
    state: Json | None = None
    capabilities: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Calls:
    """Runs tools over one database, with these settings."""

    database: Database
    settings: Settings

    async def run(self, call: Call) -> Json | InputRequired:
        """The result of a call, which may be an error, or the questions that the tool asks first."""
        try:
            result, outcome = await self._result(call), "ok"
        except InputRequired as questions:
            await self.audit(call.caller, call.tool.name, call.arguments, "input_required")
            return questions
        except asyncio.CancelledError:
            # The client is gone; the call may have had its effect.
            await self.audit(call.caller, call.tool.name, call.arguments, "unknown")
            raise
        except Exception as error:
            result, outcome = _failure(call.tool, error)
        await self.audit(call.caller, call.tool.name, call.arguments, outcome)
        return result

    async def _result(self, call: Call) -> Json:
        tool = call.tool
        if not tool.is_for(call.caller.user):
            raise Denied(f"This tool is for the role {tool.required_role} only.")
        settings, arguments = settings_of(tool, self.settings), tool.read(call.arguments)
        if call.answers is None:
            raise ToolError("The user did not answer the tool's questions.")
        context = ToolContext(
            user=call.caller.user,
            run=call.caller.run,
            database=self.database,
            key=call.key or str(uuid4()),
            settings=settings,
            answers=call.answers,
            question_state=call.state,
            capabilities=call.capabilities,
            progress=call.progress,
        )
        return _result_of(tool, await tool.run(arguments, context, self.settings.tool_seconds))

    async def audit(self, caller: Caller, tool: str, arguments: Json, outcome: str) -> None:
        """Write an audit row of a denial, or of a call outside a run: the other calls of runs are in the runs' logs.

        The row is written even if the client leaves meanwhile.
        """
        if caller.run_id is not None and outcome != "denied":
            return
        arguments_json = canonical(arguments).decode()
        row = clean(tool)[:128], outcome, caller.run_id, caller.request_id
        await to_the_end(self._write(dict(caller.user.claims), *row, arguments_json))

    async def _write(self, *row: Any) -> None:
        try:
            await self.database.call("audit_call", *row)
        except Exception as error:
            # The call has ended, so only its row is lost: tell the operator.
            logger.error("audit.lost", extra={"tool": row[1], "error": type(error).__name__})


def _failure(tool: FunctionTool, error: Exception) -> tuple[Json, str]:
    """The result and the outcome of a call that failed."""
    failure = failure_of(tool, error)
    meta = {} if failure.status == "error" else {"_meta": {OUTCOME: failure.status}}
    return {**error_result(failure.content), **meta}, failure.status


def _result_of(tool: FunctionTool, value: Any) -> Json:
    result = value if isinstance(value, McpResult) else _content(tool, value)
    if len(orjson.dumps(result)) > _MAX_BYTES:
        raise ToolError("The result is too large. Ask for less.")
    return result


def _content(tool: FunctionTool, value: Any) -> Json:
    dumped = tool.dump(value)
    if isinstance(dumped, str):
        return _text(dumped)
    structured = {"structuredContent": dumped} if tool.is_structured else {}
    return {**_text(orjson.dumps(dumped).decode()), **structured}


def _text(text: str) -> Json:
    return {"content": [{"type": "text", "text": text}]}


def error_result(text: str) -> Json:
    """A result that tells the model what failed."""
    return {**_text(text), "isError": True}
