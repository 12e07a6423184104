"""Run a tool: check the caller and the arguments, hand over the declared settings, limit the time, write the audit."""

import asyncio
import traceback
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
from pydantic import BaseModel, ValidationError

from functions.tools.tool import Caller, Context, Denied, InputRequired, Progress, Tool, ToolError
from shared.core import (
    OUTCOME,
    Json,
    Settings,
    Unavailable,
    canonical,
    clean,
    clean_json,
    logger,
    to_the_end,
)
from shared.database import Database, Refused

#: A larger result is an error: clients limit what they read, and ours stop at four times as much.
_MAX_BYTES = 1024 * 1024
#: Settings with a field of their own; any other name is a tool's secret.
_FIELDS = frozenset(field.name for field in fields(Settings))


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call as the client requested it. `key` is its idempotency key, if the client gave one; `answers` is None if the
    user refused to answer."""

    tool: Tool
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
        if not tool.is_for(call.caller):
            raise Denied(f"This tool is for the role {tool.required_role} only.")
        settings, arguments = self._settings_of(tool), _read(tool, call.arguments)
        if call.answers is None:
            raise ToolError("The user did not answer the tool's questions.")
        context = Context(
            caller=call.caller,
            database=self.database,
            key=call.key or str(uuid4()),
            settings=settings,
            answers=call.answers,
            state=call.state,
            capabilities=call.capabilities,
            progress=call.progress,
        )
        async with asyncio.timeout(self.settings.tool_seconds):
            return _result_of(tool, await tool.run(arguments, context))

    def _settings_of(self, tool: Tool) -> dict[str, str]:
        names = (*tool.required_credentials, *tool.optional_settings)
        settings = {name: self._setting(name) for name in names}
        if missing := [_variable(name) for name in tool.required_credentials if not settings[name]]:
            raise ToolError(f"This tool is not set up here: {', '.join(missing)} is not set.")
        return settings

    def _setting(self, name: str) -> str:
        if name in _FIELDS:
            return str(getattr(self.settings, name))
        return self.settings.tool_secrets.get(name.upper(), "")

    async def audit(self, caller: Caller, tool: str, arguments: Json, outcome: str) -> None:
        """Write an audit row of a denial, or of a call outside a run: the other calls of runs are in the runs' logs.

        The row is written even if the client leaves meanwhile.
        """
        if caller.run_id is not None and outcome != "denied":
            return
        arguments_json = canonical(arguments).decode()
        row = clean(tool)[:128], outcome, caller.run_id, caller.request_id
        await to_the_end(self._write(dict(caller.claims), *row, arguments_json))

    async def _write(self, *row: Any) -> None:
        try:
            await self.database.call("audit_call", *row)
        except Exception as error:
            # The call has ended, so only its row is lost: tell the operator.
            logger.error("audit.lost", extra={"tool": row[1], "error": type(error).__name__})


def _variable(name: str) -> str:
    return name.upper() if name in _FIELDS else f"TOOL_SECRET_{name.upper()}"


def _failure(tool: Tool, error: Exception) -> tuple[Json, str]:
    """The result and the outcome of a call that failed."""
    match error:
        case Denied():
            return {**error_result(str(error)), "_meta": {OUTCOME: "denied"}}, "denied"
        case ToolError():
            return error_result(str(error)), "error"
        case TimeoutError() if tool.read_only:
            return error_result("The tool took too long and was stopped."), "error"
        case TimeoutError():
            slow = "The tool took too long and was stopped; it may or may not have had its effect."
            return {**error_result(slow), "_meta": {OUTCOME: "unknown"}}, "unknown"
        case Unavailable():
            return error_result("The tool's database cannot be reached. Try again later."), "error"
        case Refused():
            return error_result("The tool's database refused this."), "error"
    # The place and the kind, never the message: it may quote arguments or a secret.
    place = traceback.extract_tb(error.__traceback__)[-1]
    facts = {"error": type(error).__name__, "at": f"{Path(place.filename).name}:{place.lineno}"}
    logger.error("tool.crashed", extra={"tool": tool.name, **facts})
    return error_result("The tool failed."), "error"


def _read(tool: Tool, arguments: Json) -> BaseModel:
    try:
        return tool.arguments.model_validate(clean_json(arguments))
    except ValidationError as error:
        # The place and the reason, never the value: the model has it, and a log must not.
        faults = (f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:5])
        raise ToolError(f"The arguments do not fit: {'; '.join(faults)}.") from None


def _result_of(tool: Tool, value: Any) -> Json:
    result = _content(tool, value)
    if len(orjson.dumps(result)) > _MAX_BYTES:
        raise ToolError("The result is too large. Ask for less.")
    return result


def _content(tool: Tool, value: Any) -> Json:
    if tool.result is None:
        return value if isinstance(value, dict) else _text(str(value))
    structured = tool.result.dump_python(value, mode="json")
    return {**_text(orjson.dumps(structured).decode()), "structuredContent": structured}


def _text(text: str) -> Json:
    return {"content": [{"type": "text", "text": text}]}


def error_result(text: str) -> Json:
    """A result that tells the model what failed."""
    return {**_text(text), "isError": True}
