"""Running a tool: who calls and with what is checked, credentials are lent, an end is seen to, an audit is left."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import orjson
from pydantic import BaseModel, ValidationError

from functions.tools.tool import Ask, Caller, Context, Denied, Progress, Tool, ToolError
from shared.contracts import OUTCOME, Json, clean_json
from shared.database import Database
from shared.log import logger
from shared.problems import Unavailable
from shared.settings import Settings


@dataclass(frozen=True, slots=True)
class Asked:
    """A call as it was asked for. `key` is its idempotency key, where the caller gave one."""

    tool: Tool
    arguments: Json
    caller: Caller
    key: str | None
    answers: Mapping[str, Json]
    progress: Progress


@dataclass(frozen=True, slots=True)
class Calls:
    """Runs tools over one database, with these settings."""

    database: Database
    settings: Settings

    async def run(self, asked: Asked) -> Json | Ask:
        """A call's result: what goes wrong in it is one too. Or what its tool asks its user first."""
        try:
            result = await self._result(asked)
        except Ask as questions:
            return questions
        except Denied as denied:
            result = {**_error(str(denied)), "_meta": {OUTCOME: "denied"}}
        except ToolError as error:
            result = _error(str(error))
        except TimeoutError:
            result = _error("The tool took too long and was stopped.")
        except Unavailable:
            result = _error("The tool's database cannot be reached. Try again later.")
        except Exception:
            logger.exception("tool.crashed", extra={"tool": asked.tool.name})
            result = _error("The tool failed.")
        await self._audit(asked, result)
        return result

    async def _result(self, asked: Asked) -> Json:
        tool = asked.tool
        if not tool.is_for(asked.caller):
            raise Denied(f"This tool is for the role {tool.required_role} only.")
        context = Context(
            caller=asked.caller,
            database=self.database,
            key=asked.key or str(uuid4()),
            settings=self._lend(tool),
            answers=asked.answers,
            progress=asked.progress,
        )
        arguments = _read(tool, asked.arguments)
        async with asyncio.timeout(self.settings.tool_seconds):
            return _written(tool, await tool.run(arguments, context))

    def _lend(self, tool: Tool) -> dict[str, str]:
        names = (*tool.required_credentials, *tool.optional_settings)
        found = {name: str(getattr(self.settings, name, "")) for name in names}
        if missing := [name.upper() for name in tool.required_credentials if not found[name]]:
            raise ToolError(f"This tool is not set up here: {', '.join(missing)} is not set.")
        return found

    async def _audit(self, asked: Asked, result: Json) -> None:
        """A call that no run made leaves its row here; those of runs are in their logs, with what came of them."""
        caller = asked.caller
        is_denied = (result.get("_meta") or {}).get(OUTCOME) == "denied"
        if caller.run_id is not None and not is_denied:
            return
        outcome = "denied" if is_denied else "error" if result.get("isError") else "ok"
        named = asked.tool.name, outcome, caller.run_id, caller.request_id
        arguments = orjson.dumps(clean_json(asked.arguments), option=orjson.OPT_SORT_KEYS).decode()
        with suppress(Unavailable):
            await self.database.call("audit_call", dict(caller.claims), *named, arguments)


def _read(tool: Tool, arguments: Json) -> BaseModel:
    try:
        return tool.arguments.model_validate(clean_json(arguments))
    except ValidationError as error:
        # Where and why, never the value: the model has it, and a log must not.
        faults = (f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:5])
        raise ToolError(f"The arguments do not fit: {'; '.join(faults)}.") from None


def _written(tool: Tool, value: Any) -> Json:
    if tool.result is None:
        return value if isinstance(value, dict) else _text(str(value))
    structured = tool.result.dump_python(value, mode="json")
    return {**_text(orjson.dumps(structured).decode()), "structuredContent": structured}


def _text(text: str) -> Json:
    return {"content": [{"type": "text", "text": text}]}


def _error(text: str) -> Json:
    return {**_text(text), "isError": True}
