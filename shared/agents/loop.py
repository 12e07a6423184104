"""The loop of a run: ask the model, close the turn, run its tool calls concurrently, repeat.

It yields steps. Its driver sends or commits each step before it takes the next, so code after a `yield` runs only when
that step is in the log.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace

from shared.agents.approvals import (
    ask_approval,
    ask_input,
    last_calls,
    resume_call,
    take_answers,
    unanswered,
)
from shared.agents.bound import BoundAgent
from shared.agents.calls import (
    CUT_OFF,
    TOO_MANY_CALLS,
    StartedCall,
    fault_of,
    fault_of_arguments,
    refuse,
    result_event,
    result_step,
    run_calls,
)
from shared.agents.endings import INCOMPLETE, INCOMPLETE_WITHOUT_OUTPUT, ending_of
from shared.agents.model_turn import ModelTurn, specifications
from shared.agents.output import FAULTS, failure_of_unfit, output_of, with_corrections
from shared.agents.progress import Report
from shared.agents.summaries import Summaries, since_summary
from shared.agents.tools import Result, Tool, Toolbox
from shared.agents.turn import Call, TurnRecorder
from shared.core import Draft, EndingType, Item, Json, Step
from shared.models import ModelRequest
from shared.runs import Leased

_OUTCOME_UNKNOWN = Result(
    "The outcome of this call is unknown: it was started, and the process that made it stopped before it had a result."
    " It may or may not have had its effect; it was not made again.",
    "unknown",
)

#: Reads how many tokens the user has left today; None without a limit.
ReadTokensLeft = Callable[[], Awaitable[int | None]]


async def unlimited() -> int | None:
    """The user's tokens are not limited."""
    return None


class Loop:
    """Executes one run: first what earlier attempts and runs left open, then turn after turn."""

    def __init__(
        self,
        agent: BoundAgent,
        instructions: str,
        leased: Leased,
        toolbox: Toolbox,
        read_tokens_left: ReadTokensLeft = unlimited,
    ) -> None:
        self._agent = agent
        self._instructions = instructions
        self._leased = leased
        self._toolbox = toolbox
        self._read_tokens_left = read_tokens_left
        self._tokens_left = leased.tokens_left
        self._tool_calls_left = agent.max_tool_calls - leased.tool_calls_made
        self._items = [*leased.items]
        self._usage = leased.used
        self._client_tools = {tool["name"]: tool for tool in leased.request.get("tools") or ()}
        self._incomplete_reasons = INCOMPLETE_WITHOUT_OUTPUT if agent.output else INCOMPLETE
        self._questions: list[Json] = []
        #: The events that take back the starts of the calls with these questions.
        self._aborts: list[Draft] = []
        self._has_ended = False
        self._summaries = Summaries(agent)

    async def steps(self) -> AsyncGenerator[Step, None]:
        """The steps of the run. The last one has its ending.

        Raises:
            ModelFailed: after the last try of a turn.
            RunFailed: the model's response does not fit the agent's output type, also after a second request.
        """
        async for step in self._resume():
            yield step
        if ending := self._ending_if_blocked():
            yield ending
            return
        # Per attempt: one that takes the run over counts from the start.
        for _ in range(self._agent.max_turns):
            if self._tokens_left is not None and self._tokens_left <= 0:
                yield self._incomplete("budget_exceeded")
                return
            # Without corrections: they are no items that a summary could name, and begin no exchange.
            request = self._request()
            if summary := await self._summaries.make(request):
                self._items.append(summary.item)
                self._usage += summary.usage
                yield summary.step
                request = self._request()
            turn = ModelTurn(self._agent.models, self._client_tools, self._agent.max_turn_tries)
            shown = replace(request, items=with_corrections(request.items))
            async for step in turn.steps(shown):
                yield step
            async for step in self._close_turn(turn.recorder):
                yield step
            if self._has_ended:
                return
            self._tokens_left = await self._read_tokens_left()
        yield self._incomplete("max_turns")

    async def _resume(self) -> AsyncIterator[Step]:
        """Finish the calls that an earlier attempt started, and make those that the user has approved or answered."""
        answers = {answer.call_id: answer for answer in self._leased.answers}
        unfinished_calls, tools = self._leased.unfinished_calls, self._toolbox.tools
        repeatable = []
        for item in [item for item in self._items if item.key in unfinished_calls]:
            started = resume_call(item, unfinished_calls[item.key], answers.get(item.key), tools)
            tool = tools.get(item.data["name"])
            if tool and tool.is_repeatable:
                repeatable.append(started)
            else:
                yield self._record(started, _OUTCOME_UNKNOWN)
        async for step in self._run_calls(repeatable):
            yield step
        waiting = {c.key: c for c in unanswered(self._items) if c.key not in unfinished_calls}
        effects = take_answers(self._leased.answers, waiting, tools)
        if effects.drafts:
            self._items += effects.results
            # Not a turn: a takeover must keep the recorded answers and the started calls.
            yield Step(effects.drafts, commits=True, closes=True)
            async for step in self._run_calls(effects.started):
                yield step

    async def _close_turn(self, turn: TurnRecorder) -> AsyncIterator[Step]:
        """Close a turn in one commit that also starts its calls, then run them. Sets `_has_ended` if the run ended."""
        output = output_of(self._agent.output, turn)
        closing = turn.close(**({FAULTS: output.faults} if output and output.faults else {}))
        usage = turn.usage.to_json()
        self._usage += turn.usage
        if usage:
            closing.append(Draft("turn.finished", None, {"usage": usage}))
        if output and output.faults:
            failure = failure_of_unfit(turn, self._items)
            self._items += turn.items
            yield Step(closing, commits=True, closes=True)
            if failure:
                raise failure
            return
        calls = [c for c in turn.calls if c.executor == "server" or fault_of_arguments(c)]
        reason = self._incomplete_reasons.get(turn.finish_reason)
        if not calls or reason:
            self._has_ended = True
            unmade = [refuse(call, CUT_OFF) for call in turn.calls if reason]
            ending = ending_of(turn, output, reason, self._usage)
            yield Step([*closing, *map(result_event, unmade), ending], commits=True, closes=True)
            return
        self._items += turn.items
        started, results = self._start_calls(calls)
        starts = (each.start() for each in started)
        yield Step([*closing, *map(result_event, results), *starts], commits=True, closes=True)
        async for step in self._run_calls(started):
            yield step
        if blocked := self._ending_if_blocked():
            self._has_ended = True
            yield blocked

    def _start_calls(self, calls: Sequence[Call]) -> tuple[list[StartedCall], list[Item]]:
        """The calls to make now, and results for those that cannot be made.

        A call that is in neither list needs the user's approval.
        """
        started: list[StartedCall] = []
        results: list[Item] = []
        for call in calls:
            tool = self._toolbox.tools.get(call.name)
            # A call of a frontend tool is here because of its arguments.
            wrong = fault_of_arguments(call) or fault_of(call, tool)
            if wrong or self._tool_calls_left <= 0:
                results.append(refuse(call, wrong or TOO_MANY_CALLS))
                continue
            self._tool_calls_left -= 1
            if tool and tool.approval == "never":
                started.append(StartedCall.new(call))
        self._items += results
        return started, results

    async def _run_calls(self, started: Sequence[StartedCall]) -> AsyncIterator[Step]:
        async for each, outcome in run_calls(started, self._toolbox):
            if isinstance(outcome, Report):
                yield Step([each.report(outcome)])
                continue
            if isinstance(outcome, Result):
                yield self._record(each, outcome)
                continue
            self._questions.append(ask_input(each.call, outcome, self._agent))
            self._aborts.append(each.take_back())

    def _record(self, started: StartedCall, result: Result) -> Step:
        item = started.finish(result)
        self._items.append(item)
        return result_step(item)

    def _ending_if_blocked(self) -> Step | None:
        """The ending, if a call waits for the user's answer or for a result of the frontend."""
        waiting = last_calls(self._items)
        pending = [call.key for call in waiting if call.data["executor"] == "client"]
        calls_with_question = {question["call_id"] for question in self._questions}
        questions = [*self._questions]
        for call in waiting:
            tool = self._needs_approval(call)
            if tool and call.key not in calls_with_question:
                server_call = Call(call.key, None, tool.name, "server")
                questions.append(ask_approval(server_call, tool, self._agent))
        if questions:
            data = {"interrupts": questions, "pending_calls": pending}
            return self._end_with([*self._aborts], "run.interrupted", data)
        return self._end_with([], "run.completed", {"pending_calls": pending}) if pending else None

    def _needs_approval(self, call: Item) -> Tool | None:
        tool = self._toolbox.tools.get(call.data["name"])
        is_server_call = call.data["executor"] == "server"
        return tool if is_server_call and tool and tool.approval != "never" else None

    def _incomplete(self, reason: str) -> Step:
        return self._end_with([], "run.incomplete", {"reason": reason})

    def _end_with(self, drafts: Sequence[Draft], type_: EndingType, data: Json) -> Step:
        ending = Draft(type_, None, {**data, "usage": self._usage.to_json()})
        return Step([*drafts, ending], commits=True)

    def _request(self) -> ModelRequest:
        return ModelRequest(
            items=since_summary(self._items),
            instructions=self._instructions,
            context=self._leased.request.get("context") or (),
            tools=specifications(self._toolbox.tools, self._client_tools),
            context_tokens=self._agent.context_tokens,
            cache_key=self._leased.cache_key,
        )
