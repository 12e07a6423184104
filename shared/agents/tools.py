"""Calling tools: side by side, each started in the log before it runs, none made twice unless it may be."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol
from uuid import uuid4

import orjson

from shared.agents.schemas import fault
from shared.agents.turn import Call
from shared.core import Draft, Item, Json, Step, clean, logger

#: `ask`: the user must say yes first; `edit`: and may change the arguments.
Approval = Literal["never", "ask", "edit"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A tool as the model is told of it, and what its calls need. `parameters` is their JSON Schema.

    `is_repeatable`: a call of unknown outcome may be made again, as it reads only or its id makes it idempotent.
    """

    name: str
    description: str = ""
    parameters: Json = field(default_factory=lambda: {"type": "object", "properties": {}})
    is_repeatable: bool = False
    approval: Approval = "never"


class Result(NamedTuple):
    """What a call gave, in words for the model. What goes wrong in a tool is a result too."""

    content: str
    status: Literal["ok", "error", "denied", "refused", "unknown"] = "ok"


class Question(NamedTuple):
    """What a tool wants to know from the user before it goes on. `state` comes back to it with the answer."""

    message: str
    schema: Json
    state: Any = None


class Toolbox(Protocol):
    """The tools the server runs, as one run has them: its user's, called in its user's name."""

    @property
    def tools(self) -> Mapping[str, Tool]: ...

    async def call(
        self, name: str, arguments: Json, call_id: str, answer: Json | None = None
    ) -> Result | Question:
        """Run one. `call_id` is its idempotency key; `answer` {payload, state} that to its question of before."""
        ...


class Tools(Protocol):
    """Where toolboxes come from."""

    async def open(self, claims: Json, run_id: str, request_id: str | None) -> Toolbox:
        """The toolbox of a run that acts with these claims. What cannot be reached costs its tools, not the run."""
        ...


class NoTools:
    """The toolbox of an agent that has none of its own."""

    tools: Mapping[str, Tool] = {}

    async def open(self, claims: Json, run_id: str, request_id: str | None) -> Toolbox:
        del claims, run_id, request_id
        return self

    async def call(
        self, name: str, arguments: Json, call_id: str, answer: Json | None = None
    ) -> Result | Question:
        del arguments, call_id, answer
        return Result(f"There is no tool named {name!r}.", "error")


@dataclass(frozen=True, slots=True)
class Begun:
    """A call in the ledger: from its start on it may have had its effect, until its result says what came of it.

    `edited`: the user changed its arguments.
    """

    call: Call
    result_id: str
    edited: bool = False
    answer: Json | None = None

    @classmethod
    def new(cls, call: Call) -> "Begun":
        return cls(call, str(uuid4()))

    def start(self) -> Draft:
        """The ledger's entry."""
        data = {"kind": "tool_result", "call_id": self.call.id}
        return Draft("item.started", self.result_id, data)

    def take_back(self) -> Draft:
        """The call had no effect yet: it asked first."""
        return Draft("item.aborted", self.result_id, {"reason": "input_required"})

    def finish(self, result: Result) -> Item:
        data: Json = {"call_id": self.call.id, "content": clean(result.content)}
        if result.status != "ok":
            data["status"] = result.status
        if self.edited:
            data["arguments"] = "".join(self.call.arguments)
        return Item(self.result_id, "tool_result", data)


def completed(result: Item) -> Draft:
    return Draft("item.completed", result.key, {"kind": "tool_result", "item": result.data})


def told(result: Item) -> Step:
    """The step that tells what came of a call."""
    return Step([completed(result)], commits=True)


async def run_calls(
    begun: Sequence[Begun], toolbox: Toolbox
) -> AsyncIterator[tuple[Begun, Result | Question]]:
    """Run calls side by side; what comes of each, as it comes."""
    tasks = [asyncio.ensure_future(_run_call(each, toolbox)) for each in begun]
    try:
        for done in asyncio.as_completed(tasks):
            yield await done
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _run_call(begun: Begun, toolbox: Toolbox) -> tuple[Begun, Result | Question]:
    return begun, await _outcome(begun, toolbox)


async def _outcome(begun: Begun, toolbox: Toolbox) -> Result | Question:
    """What the model is told: whatever goes wrong in a call is its result, and not the run's end."""
    call = begun.call
    if wrong := fault_of(call, toolbox.tools.get(call.name)):
        return wrong
    try:
        arguments = orjson.loads("".join(call.arguments))
        return await toolbox.call(call.name, arguments, call.id, begun.answer)
    except Exception:
        logger.exception("tool.crashed", extra={"tool": call.name})
        return Result("The tool failed.", "error")


def fault_of(call: Call, tool: Tool | None) -> Result | None:
    """Why a call cannot be made at all, if so: nobody should be asked to allow it."""
    if tool is None:
        return Result(f"There is no tool named {call.name!r}.", "error")
    try:
        arguments = orjson.loads("".join(call.arguments))
    except orjson.JSONDecodeError:
        return Result("The arguments are not valid JSON.", "error")
    if not isinstance(arguments, dict):
        return Result("The arguments are not a JSON object.", "error")
    wrong = fault(tool.parameters, arguments)
    return Result(f"The arguments do not fit the tool: {wrong}.", "error") if wrong else None
