"""Tool calls: concurrent, each started in the log before it runs, and repeated only if its tool allows that."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

import orjson

from shared.agents.calling import is_being_cancelled
from shared.agents.context import Progress, ToolError
from shared.agents.progress import ProgressReporter, Report
from shared.agents.schemas import fault
from shared.agents.tools import CallRequest, Question, Result, Tool, Toolbox
from shared.agents.turn import Call
from shared.core import Draft, Item, Json, Step, clean, error_facts, logger, tool_call

TOO_MANY_CALLS: Final = Result(
    "This run has made all the calls it may make. Answer without more.", "denied"
)
CUT_OFF: Final = Result("The call was not made: the response ended before it was whole.", "error")
#: How many characters of a call's arguments are shown in what is wrong with them.
_SHOWN: Final = 200


@dataclass(frozen=True, slots=True)
class StartedCall:
    """A call that the log records as started: it may have had its effect, until its result says so.

    `edited`: the user changed its arguments. `answer`: the user's answer to the tool's question.
    """

    call: Call
    result_id: str
    edited: bool = False
    answer: Json | None = None

    @classmethod
    def new(cls, call: Call) -> "StartedCall":
        return cls(call, str(uuid4()))

    def start(self) -> Draft:
        """The event that records the start."""
        data = {"kind": "tool_result", "call_id": self.call.id}
        return Draft("item.started", self.result_id, data)

    def report(self, report: Report) -> Draft:
        """The event that reports how far the call is."""
        data = {k: v for k, v in report._asdict().items() if v is not None}
        return Draft("item.progress", self.result_id, {"call_id": self.call.id, **data})

    def take_back(self) -> Draft:
        """The event that takes the start back: the call had no effect, because it first has a question."""
        return Draft("item.aborted", self.result_id, {"reason": "input_required"})

    def finish(self, result: Result) -> Item:
        data: Json = {"call_id": self.call.id, "content": clean(result.content)}
        if result.status != "ok":
            data["status"] = result.status
        if self.edited:
            data["arguments"] = "".join(self.call.arguments)
        return Item(self.result_id, "tool_result", data)


def refuse(call: Call, why: Result) -> Item:
    """The result of a call that is not made."""
    return StartedCall.new(call).finish(why)


def result_event(result: Item) -> Draft:
    """The event that records a call's result."""
    return Draft("item.completed", result.key, {"kind": "tool_result", "item": result.data})


def result_step(result: Item) -> Step:
    """The step that commits a call's result."""
    return Step([result_event(result)], commits=True)


async def run_calls(
    started: Sequence[StartedCall], toolbox: Toolbox
) -> AsyncIterator[tuple[StartedCall, Result | Question | Report]]:
    """Run calls concurrently, and yield each one's reports of progress and its outcome as they arrive."""
    arrivals: asyncio.Queue[tuple[StartedCall, Result | Question | Report]] = asyncio.Queue()
    tasks = [asyncio.ensure_future(_run_call(each, toolbox, arrivals)) for each in started]
    running = len(tasks)
    try:
        while running:
            each, news = await arrivals.get()
            running -= not isinstance(news, Report)
            yield each, news
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _run_call(
    started: StartedCall,
    toolbox: Toolbox,
    arrivals: "asyncio.Queue[tuple[StartedCall, Result | Question | Report]]",
) -> None:
    reporter = ProgressReporter(lambda report: arrivals.put_nowait((started, report)))
    try:
        outcome = await _outcome(started, toolbox, reporter)
    finally:
        reporter.close()
    arrivals.put_nowait((started, outcome))


async def _outcome(started: StartedCall, toolbox: Toolbox, progress: Progress) -> Result | Question:
    """A call's outcome: a failure is its result, and does not end the run."""
    call = started.call
    if wrong := fault_of(call, toolbox.tools.get(call.name)):
        return wrong
    try:
        arguments = orjson.loads("".join(call.arguments))
        request = CallRequest(call.name, arguments, call.id, started.answer, progress)
        with tool_call(call.name, call.id) as span:
            outcome = await toolbox.call(request)
            if isinstance(outcome, Result) and outcome.status != "ok":
                span.fail(outcome.fault or outcome.status)
            return outcome
    except asyncio.CancelledError as error:
        if is_being_cancelled():
            raise
        return _crashed(call, error)
    except Exception as error:
        return _crashed(call, error)


def _crashed(call: Call, error: BaseException) -> Result:
    logger.error("tool.crashed", extra={"tool": call.name, **error_facts(error)})
    return Result("The tool failed.", "error")


def fault_of_arguments(call: Call) -> Result | None:
    """Why a call's arguments are no JSON object, as its result; None if they are one.

    The result quotes the arguments: no server takes them back, so the model reads them only here.
    """
    text = "".join(call.arguments)
    try:
        arguments = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
        return Result(f"The arguments are not valid JSON ({error}): {shown}", "error")
    if not isinstance(arguments, dict):
        return Result(f"The arguments are not a JSON object: {text[:_SHOWN]}", "error")
    return None


def fault_of(call: Call, tool: Tool | None) -> Result | None:
    """Why a call cannot be made, as its result; then nobody needs to approve it. None: it can be made."""
    if tool is None:
        return Result(f"There is no tool named {call.name!r}.", "error")
    if unreadable := fault_of_arguments(call):
        return unreadable
    arguments = orjson.loads("".join(call.arguments))
    if wrong := fault(tool.parameters, arguments):
        return Result(f"The arguments do not fit the tool: {wrong}.", "error")
    return _fault_of_reading(call, tool, arguments)


def _fault_of_reading(call: Call, tool: Tool, arguments: Json) -> Result | None:
    """What a schema cannot say: the tool's own types and validators."""
    try:
        if tool.read:
            tool.read(arguments)
    except ToolError as error:
        return Result(str(error), "error")
    except Exception as error:
        # A validator is the developer's code.
        return _crashed(call, error)
    return None
