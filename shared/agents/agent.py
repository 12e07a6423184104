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
        ValueError: an option is of another type, two tools have the same name, an approval is none of the known words
            or names no tool, or a limit is below 1.
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
        self._check_types()
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
        if not all(limit is None or _is_limit(limit) for limit in limits):
            raise ValueError("An agent's limits are numbers from 1 up.")

    def _check_types(self) -> None:
        """Check what a type checker would find, since not everybody runs one."""
        if not _is_text_or_function(self.instructions):
            raise ValueError(f"Instructions are a string or a function, not {self.instructions!r}.")
        if not isinstance(self.model, Model):
            raise ValueError(f"An agent's model is a Model: write Model({self.model!r}).")
        if not _is_list(self.tools):
            raise ValueError(f"An agent's tools are a list, not {self.tools!r}.")
        for tool in self.tools:
            if not isinstance(tool, Declared):
                raise ValueError(f"{tool!r} is no tool: make functions tools with @tool.")
        if self.output is not None and not _is_pydantic_model(self.output):
            raise ValueError(f"An agent's output is a pydantic model class, not {self.output!r}.")

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


def _is_text_or_function(value: object) -> bool:
    return isinstance(value, str) or callable(value)


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _is_limit(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 1


def _is_pydantic_model(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, BaseModel)


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
