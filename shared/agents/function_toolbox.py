"""The functions of an agent as the tools of one run, called in this process."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from shared.agents.context import InputRequired, RunContext, ToolContext
from shared.agents.failures import failure_of
from shared.agents.forms import contents_of, question_of
from shared.agents.function_tool import FunctionTool
from shared.agents.tool_settings import settings_of
from shared.agents.tools import CallRequest, Question, Result, Tool, shorten
from shared.core import Json, Settings
from shared.database import Database


class FunctionTools:
    """The functions of an agent; `open` gives those that the run's user may use."""

    def __init__(
        self, tools: Sequence[FunctionTool], database: Database, settings: Settings
    ) -> None:
        self._tools = tools
        self._database = database
        self._settings = settings

    async def open(self, run: RunContext) -> "FunctionToolbox":
        allowed = {tool.name: tool for tool in self._tools if tool.is_for(run.user)}
        return FunctionToolbox(allowed, run, self._database, self._settings)


class FunctionToolbox:
    """The functions of one run."""

    def __init__(
        self,
        functions: Mapping[str, FunctionTool],
        run: RunContext,
        database: Database,
        settings: Settings,
    ) -> None:
        self.tools = {name: _tool(each) for name, each in functions.items()}
        self._functions = functions
        self._run = run
        self._database = database
        self._settings = settings

    async def call(self, request: CallRequest) -> Result | Question:
        tool = self._functions[request.name]
        try:
            context = self._context(tool, request)
            result = await tool.run(request.arguments, context, self._settings.tool_seconds)
            return Result(self._text(tool.dump(result)))
        except InputRequired as required:
            return question_of(required.questions, {"kept": required.state})
        except Exception as error:
            return failure_of(tool, error)

    def _context(self, tool: FunctionTool, request: CallRequest) -> ToolContext:
        optional: Json = {"progress": request.progress} if request.progress else {}
        if request.answer:
            state = request.answer["state"]
            optional["answers"] = contents_of(request.answer["payload"], state["keys"])
            optional["question_state"] = state["kept"]
        return ToolContext(
            user=self._run.user,
            run=self._run,
            state=self._run.state,
            key=request.call_id,
            database=self._database,
            settings=settings_of(tool, self._settings),
            **optional,
        )

    def _text(self, value: Any) -> str:
        text = value if isinstance(value, str) else orjson.dumps(value).decode()
        return shorten(text, self._settings.tool_result_characters)


def _tool(function: FunctionTool) -> Tool:
    return Tool(
        name=function.name,
        description=function.description,
        parameters=function.input_schema,
        is_repeatable=function.is_repeatable,
        approval=function.approval or ("ask" if function.destructive else "never"),
        read=function.read,
    )
