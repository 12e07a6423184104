"""Tools: async functions with typed arguments and declared effects. The server searches each module of this package.

@tool(read_only=True)
async def shout(arguments: Shout, context: Context) -> str:
    \"""Return the text in capitals.\"""
    return arguments.text.upper()
"""

import inspect
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Literal, get_type_hints

from pydantic import BaseModel, TypeAdapter

from shared.auth import role_of
from shared.core import Json

#: Reports a call's progress to the client: done, total, and a sentence.
Progress = Callable[[float, float | None, str | None], Awaitable[None]]


class ToolError(Exception):
    """A failure, as a sentence for the model that may suggest what to do instead. It must not contain secrets."""


class Denied(ToolError):
    """The caller may not use this tool."""


class InputRequired(Exception):
    """The tool needs answers before it can continue.

    `questions` for its user are {key: (message, JSON Schema of an object)}; those for the client are {key: an MCP
    request (method, params)}. After the answers, the tool runs again from its start, with the answers and the state in
    its context. Meanwhile the client stores the state, which it can read but not change. The call ends if the user
    declines.
    """

    def __init__(
        self, questions: Mapping[str, tuple[str, Json] | Json], state: Json | None = None
    ) -> None:
        super().__init__("the tool has questions")
        self.questions: dict[str, Json] = {
            key: question if isinstance(question, dict) else _form(*question)
            for key, question in questions.items()
        }
        self.state = state


def _form(message: str, schema: Json) -> Json:
    params = {"mode": "form", "message": message, "requestedSchema": schema}
    return {"method": "elicitation/create", "params": params}


@dataclass(frozen=True, slots=True)
class Caller:
    """The user a call acts for: the claims, and the run if a run made the call."""

    claims: Mapping[str, object]
    run_id: str | None = None
    request_id: str | None = None

    @property
    def user(self) -> str:
        return str(self.claims["sub"])

    @property
    def role(self) -> str | None:
        return role_of(self.claims)


async def _silent(done: float, total: float | None, message: str | None) -> None:
    del done, total, message


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The inputs of a call beside its arguments. `key` is its idempotency key: a repeated call has the same key.

    `settings` are those the tool declared, and no others. `answers` are the client's answers to its questions, not
    validated; `state` is that of its last `InputRequired`; `capabilities` are the kinds of questions that the client
    can answer.
    """

    caller: Caller
    database: Any
    key: str
    settings: Mapping[str, str] = field(default_factory=dict, repr=False)
    answers: Mapping[str, Json] = field(default_factory=dict)
    state: Json | None = None
    capabilities: Collection[str] = ()
    progress: Progress = _silent


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A tool and its declared effects. The hints are MCP's: by default, `destructive` calls need approval."""

    name: str
    title: str
    description: str
    arguments: type[BaseModel]
    result: TypeAdapter[Any] | None
    run: Callable[[Any, Context], Awaitable[Any]]
    read_only: bool = False
    idempotent: bool = False
    destructive: bool = False
    open_world: bool = False
    approval: Literal["never", "ask", "edit"] | None = None
    required_role: str | None = None
    #: Settings that it needs, and settings that it uses if they are set.
    required_credentials: Sequence[str] = ()
    optional_settings: Sequence[str] = ()

    @property
    def input_schema(self) -> Json:
        schema = self.arguments.model_json_schema()
        schema.pop("title", None)
        schema.pop("description", None)
        return schema

    @property
    def output_schema(self) -> Json | None:
        return self.result.json_schema() if self.result else None

    def is_for(self, caller: Caller) -> bool:
        """Whether the caller may see and use it."""
        return self.required_role is None or caller.role == self.required_role


#: A tool's implementation.
ToolFunction = Callable[[Any, Context], Awaitable[Any]]


def tool(**declarations: Any) -> Callable[[ToolFunction], Tool]:
    """Make a tool of `async def name(arguments: Model, context: Context) -> result`.

    The name is the function's, the description its docstring, the schemas come from its types: a result that is a model
    becomes structured content, a str becomes text. `declarations` are members of `Tool`.
    """

    def make(run: ToolFunction) -> Tool:
        hints = get_type_hints(run)
        result = hints.get("return", str)
        is_structured = isinstance(result, type) and issubclass(result, BaseModel)
        name = run.__name__
        facts: Json = {
            "name": name,
            "title": name.replace("_", " ").capitalize(),
            "description": inspect.getdoc(run) or "",
            "arguments": hints["arguments"],
            "result": TypeAdapter(result) if is_structured else None,
        }
        return Tool(**{**facts, "run": run, **declarations})

    return make


def tools_of(*modules: ModuleType) -> dict[str, Tool]:
    """The tools of these modules by name.

    Raises:
        ValueError: two tools have the same name.
    """
    tools: dict[str, Tool] = {}
    for module in modules:
        for value in vars(module).values():
            if isinstance(value, Tool) and tools.setdefault(value.name, value) is not value:
                raise ValueError(f"two tools are named {value.name}")
    return tools
