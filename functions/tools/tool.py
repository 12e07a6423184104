"""What a tool is here: an async function with typed arguments, and what it may do. One file each, found by being there.

@tool(read_only=True)
async def shout(arguments: Shout, context: Context) -> str:
    \"""Say it in capitals.\"""
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

#: Tells the client how far a call is: done, of how much in all, and a sentence.
Progress = Callable[[float, float | None, str | None], Awaitable[None]]


class ToolError(Exception):
    """What went wrong, in a sentence for the model: it may say what to do instead. Never a secret."""


class Denied(ToolError):
    """The caller may not use this tool."""


class Ask(Exception):
    """The tool wants to know something first: of its user, {key: (message, JSON Schema of an object)}, or of the
    client, {key: a request of MCP (method, params)}.

    The call comes again from its start, with the answers and the state in its context. The client keeps the state
    meanwhile: it can read it, and not change it. A user who says no ends the call.
    """

    def __init__(
        self, questions: Mapping[str, tuple[str, Json] | Json], state: Json | None = None
    ) -> None:
        super().__init__("the user is asked")
        self.questions: dict[str, Json] = {
            key: asked if isinstance(asked, dict) else _form(*asked)
            for key, asked in questions.items()
        }
        self.state = state


def _form(message: str, schema: Json) -> Json:
    params = {"mode": "form", "message": message, "requestedSchema": schema}
    return {"method": "elicitation/create", "params": params}


@dataclass(frozen=True, slots=True)
class Caller:
    """Who a call acts for: the claims verified when its run was admitted."""

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
    """What a call has beside its arguments. `key` is its idempotency key: the same call made again has the same.

    `settings` are those the tool declared, and no others. `answers` are those to its questions, as unchecked as they
    came; `state` is what its last `Ask` kept; `capabilities` says what the client can be asked for.
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
    """A tool and what it may do. The hints are MCP's: `destructive` calls need their user's yes."""

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
    #: Settings without which it cannot work, and such as it looks at.
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
        """Whether the caller may know of it."""
        return self.required_role is None or caller.role == self.required_role


Run = Callable[[Any, Context], Awaitable[Any]]


def tool(**more: Any) -> Callable[[Run], Tool]:
    """Make a tool of `async def name(arguments: Model, context: Context) -> result`.

    The name is the function's, the description its docstring, the schemas those of its types: a result that is a model
    is structured content, a text is just text. `more` are members of `Tool`.
    """

    def make(run: Run) -> Tool:
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
        return Tool(**{**facts, "run": run, **more})

    return make


def tools_of(*modules: ModuleType) -> dict[str, Tool]:
    """The tools these modules define, by name.

    Raises:
        ValueError: two have the same name.
    """
    found: dict[str, Tool] = {}
    for module in modules:
        for value in vars(module).values():
            if isinstance(value, Tool) and found.setdefault(value.name, value) is not value:
                raise ValueError(f"two tools are named {value.name}")
    return found
