"""Tools as a run uses them: what the model sees of one, the rules for its calls, and what a call returns."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

from shared.agents.context import Progress, RunContext
from shared.core import Json

#: `ask`: the user must approve each call; `edit`: and may change its arguments.
Approval = Literal["never", "ask", "edit"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A tool as the model sees it, and the rules for its calls. `parameters` is the JSON Schema of their arguments.

    `is_repeatable`: a call of unknown outcome may run again, because it only reads or its id makes it idempotent.
    `priority`: if the model takes fewer tools, it gets those with the lowest. 0: the developer or the operator chose
    the tool by name; 1, 2, …: its place in its server's list. `read`: converts the arguments as the call does, and
    raises ToolError if they do not fit; None if only the server can say more than the schema.
    """

    name: str
    description: str = ""
    parameters: Json = field(default_factory=lambda: {"type": "object", "properties": {}})
    is_repeatable: bool = False
    approval: Approval = "never"
    priority: int = 0
    read: Callable[[Json], object] | None = None


class Result(NamedTuple):
    """What a call returned, as text for the model. A tool's failure is a result, too.

    `fault`: the kind of a failure, for the call's span.
    """

    content: str
    status: Literal["ok", "error", "denied", "refused", "unknown"] = "ok"
    fault: str | None = None


def shorten(text: str, limit: int) -> str:
    """A result's text within a limit of characters; one that is cut says so."""
    if len(text) <= limit:
        return text
    return f"{text[:limit]}\n[cut here: {len(text)} characters in all]"


class Question(NamedTuple):
    """What a tool asks the user before it continues. The tool gets `state` back with the answer."""

    message: str
    schema: Json
    state: Any = None


class CallRequest(NamedTuple):
    """One call of a tool. `call_id` is its idempotency key; `answer` {payload, state} answers its earlier question;
    `progress` gets its reports."""

    name: str
    arguments: Json
    call_id: str
    answer: Json | None = None
    progress: Progress | None = None


class Toolbox(Protocol):
    """The server's tools in one run, called on behalf of the run's user."""

    @property
    def tools(self) -> Mapping[str, Tool]: ...

    async def call(self, request: CallRequest) -> Result | Question:
        """Make one call, and return its result, or the question that the tool asks first."""
        ...


class Tools(Protocol):
    """Opens the toolbox of a run."""

    async def open(self, run: RunContext) -> Toolbox:
        """The toolbox of a run. A server that cannot be reached is missing from it."""
        ...


class NoTools:
    """The toolbox of an agent without tools."""

    tools: Mapping[str, Tool] = {}

    async def open(self, run: RunContext) -> Toolbox:
        del run
        return self

    async def call(self, request: CallRequest) -> Result | Question:
        return Result(f"There is no tool named {request.name!r}.", "error")
