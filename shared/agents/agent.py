"""The declaration of an agent: what a developer writes, and nothing that a process gives it."""

import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, get_args

from pydantic import BaseModel

from shared.agents.context import RunContext
from shared.agents.function_tool import FunctionTool
from shared.agents.model import Model
from shared.agents.sources import McpServers, SharedTools
from shared.agents.tools import Approval
from shared.core import Json, canonical

#: Makes the instructions of one run. A plain function runs in a thread, so it may block; an `async` one must not.
Instructions = Callable[[RunContext], str | Awaitable[str]]
Declared = FunctionTool | McpServers | SharedTools


@dataclass(frozen=True, kw_only=True, eq=False)
class Agent:
    """What executes runs. Everything but the instructions has a default.

    `instructions`: a text, or a function of the run, plain or `async`. `tools`: functions made with `@tool`, and
    `mcp("name")` and `shared_tools()`. `output`: a pydantic model; the response then is JSON of its schema, is checked,
    and is the run's result. `approval`: by tool name, or `*` for all others, whether a call needs the user's approval;
    it takes precedence over what a tool declares. `max_turns`: responses of the model in one run, counted from the
    start again after a takeover. The other limits are, if None, those of the settings MAX_TOOL_CALLS,
    MODEL_CONTEXT_TOKENS and APPROVAL_HOURS.

    Raises:
        ValueError: two tools have the same name, a member of `tools` is none, an approval is none of the known words or
            names no tool, or a limit is below 1.
    """

    instructions: str | Instructions
    model: Model = field(default_factory=Model)
    tools: Sequence[Declared] = ()
    output: type[BaseModel] | None = None
    approval: Mapping[str, Approval] = field(default_factory=dict)
    max_turns: int = 12
    max_tool_calls: int | None = None
    context_tokens: int | None = None
    approval_hours: float | None = None

    def __post_init__(self) -> None:
        for tool in self.tools:
            if not isinstance(tool, Declared):
                raise ValueError(f"{tool!r} is no tool: make functions tools with @tool.")
        names = [tool.name for tool in self.functions]
        if repeated := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"Two tools are named {min(repeated)}.")
        if len(names) == len(self.tools) and (typos := {*self.approval} - {*names, "*"}):
            raise ValueError(
                f"The approval policy names {min(typos)!r}, which is no tool of the agent."
            )
        if wrong := set(self.approval.values()) - {*get_args(Approval)}:
            raise ValueError(f"An approval is never, ask or edit, not {min(wrong)!r}.")
        limits = (self.max_turns, self.max_tool_calls, self.context_tokens, self.approval_hours)
        if any(limit is not None and not limit >= 1 for limit in limits):
            raise ValueError("An agent's limits are numbers from 1 up.")

    @property
    def functions(self) -> list[FunctionTool]:
        """The tools that are functions of this process."""
        return [tool for tool in self.tools if isinstance(tool, FunctionTool)]

    @property
    def output_schema(self) -> Json | None:
        """The JSON Schema of the response; None: any text."""
        return self.output.model_json_schema() if self.output else None

    def fingerprint(self) -> str:
        """The first 16 hex digits of a SHA-256 of everything declared here, without the code of functions."""
        instructions = self.instructions
        declared: Json = {
            "instructions": instructions if isinstance(instructions, str) else _name(instructions),
            "model": asdict(self.model),
            "tools": [_specification(tool) for tool in self.tools],
            "output": self.output_schema,
            "approval": dict(self.approval),
            "limits": [
                self.max_turns,
                self.max_tool_calls,
                self.context_tokens,
                self.approval_hours,
            ],
        }
        return hashlib.sha256(canonical(declared)).hexdigest()[:16]


def _name(function: Any) -> str:
    return f"{function.__module__}.{function.__qualname__}"


def _specification(tool: Declared) -> Json:
    if not isinstance(tool, FunctionTool):
        return {type(tool).__name__: list(tool.names)}
    return {
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.input_schema,
        "effects": [tool.read_only, tool.idempotent, tool.destructive, tool.approval],
    }
