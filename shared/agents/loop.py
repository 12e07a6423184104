"""The loop: ask the model, close the turn, run its calls side by side, again.

It yields what happens as steps; whoever drives it sends or commits each before it asks for the next, so that code after
a `yield` of consequences runs only when they are in the log.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

from shared.agents.approvals import (
    ask_approval,
    ask_input,
    last_calls,
    resume_call,
    take_answers,
    unanswered,
)
from shared.agents.model_turn import ModelTurn, specifications
from shared.agents.tools import (
    Begun,
    NoTools,
    Result,
    Tool,
    Toolbox,
    Tools,
    completed,
    fault_of,
    run_calls,
    told,
)
from shared.agents.turn import Call, TurnRecorder
from shared.core import Draft, EndingType, Item, Json, Step
from shared.models import (
    FinishReason,
    ModelClient,
    ModelRequest,
    ModelSettings,
    fit_history,
)
from shared.runs import Leased

#: The turns that end a run as incomplete, and the reasons it gives.
_INCOMPLETE: dict[FinishReason, str] = {
    "length": "max_output_tokens",
    "content_filter": "content_filter",
}
_UNKNOWN = Result(
    "The outcome of this call is unknown: it was started, and the process that made it stopped before it had a result."
    " It may or may not have had its effect; it was not made again.",
    "unknown",
)
_TOO_MANY = Result("This run has made all the calls it may make. Answer without more.", "denied")

#: What is left of the user's tokens today; None where there is no limit.
TokensLeft = Callable[[], Awaitable[int | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """Who answers: instructions, model, tools and limits. A run fails after so many `attempts` at one turn."""

    instructions: str
    model: ModelSettings = ModelSettings()  # noqa: RUF009  # frozen
    tools: Tools = NoTools()  # noqa: RUF009  # it holds nothing
    max_turns: int = 12
    max_tool_calls: int = 64
    attempts: int = 3
    context_tokens: int = 128_000
    approval_hours: float = 168.0


async def unlimited() -> int | None:
    """No limit of tokens."""
    return None


class Loop:
    """One run, answered step by step: what earlier holders and runs left first, then turn after turn."""

    def __init__(
        self,
        agent: Agent,
        leased: Leased,
        model: ModelClient,
        toolbox: Toolbox,
        tokens_left: TokensLeft = unlimited,
    ) -> None:
        self._agent = agent
        self._leased = leased
        self._model = model
        self._toolbox = toolbox
        self._tokens_left = tokens_left
        self._left = leased.tokens_left
        self._calls_left = agent.max_tool_calls - leased.calls_made
        self._items = [*leased.items]
        self._usage = leased.used
        self._client_tools = {tool["name"]: tool for tool in leased.request.get("tools") or ()}
        self._questions: list[Json] = []
        self._taken_back: list[Draft] = []
        self._is_over = False

    async def steps(self) -> AsyncGenerator[Step, None]:
        """The steps of the run, the last of which holds its ending.

        Raises:
            ModelFailed: after the last attempt at a turn.
        """
        async for step in self._take_up():
            yield step
        if ending := self._waits():
            yield ending
            return
        for _ in range(self._agent.max_turns):
            if self._left is not None and self._left <= 0:
                yield self._incomplete("budget_exceeded")
                return
            turn = ModelTurn(self._model, self._client_tools, self._agent.attempts)
            async for step in turn.steps(self._request()):
                yield step
            async for step in self._close(turn.recorder):
                yield step
            if self._is_over:
                return
            self._left = await self._tokens_left()
        yield self._incomplete("max_turns")

    async def _take_up(self) -> AsyncIterator[Step]:
        """Go on with the calls an earlier holder started, and with those the user was asked about."""
        answers = {answer.call_id: answer for answer in self._leased.answers}
        unfinished_calls, tools = self._leased.unfinished_calls, self._toolbox.tools
        again = []
        for item in [item for item in self._items if item.key in unfinished_calls]:
            begun = resume_call(item, unfinished_calls[item.key], answers.get(item.key), tools)
            tool = tools.get(item.data["name"])
            if tool and tool.is_repeatable:
                again.append(begun)
            else:
                yield self._tell(begun, _UNKNOWN)
        async for step in self._run(again):
            yield step
        waiting = {c.key: c for c in unanswered(self._items) if c.key not in unfinished_calls}
        answered = take_answers(self._leased.answers, waiting, tools)
        if answered.drafts:
            self._items += answered.results
            yield Step(answered.drafts, commits=True, closes=True)
            async for step in self._run(answered.begun):
                yield step

    async def _close(self, turn: TurnRecorder) -> AsyncIterator[Step]:
        """Close a turn in one commit, with its calls as started; run them; say so where the run ends with that."""
        closing, spent = turn.close(), turn.usage.to_json()
        self._usage += turn.usage
        if spent:
            closing.append(Draft("turn.finished", None, {"usage": spent}))
        mine = [call for call in turn.calls if call.executor == "server"]
        if not mine or turn.finish_reason in _INCOMPLETE:
            self._is_over = True
            yield Step([*closing, self._ending(turn)], commits=True, closes=True)
            return
        self._items += turn.items
        begun, results = self._begin(mine)
        starts = (each.start() for each in begun)
        yield Step([*closing, *map(completed, results), *starts], commits=True, closes=True)
        async for step in self._run(begun):
            yield step
        if ending := self._waits():
            self._is_over = True
            yield ending

    def _begin(self, calls: Sequence[Call]) -> tuple[list[Begun], list[Item]]:
        """The calls that run now, and the results of those that never will. The rest waits for its user."""
        begun: list[Begun] = []
        results: list[Item] = []
        for call in calls:
            tool, each = self._toolbox.tools.get(call.name), Begun.new(call)
            if wrong := fault_of(call, tool) or (_TOO_MANY if self._calls_left <= 0 else None):
                results.append(each.finish(wrong))
                continue
            self._calls_left -= 1
            if tool and tool.approval == "never":
                begun.append(each)
        self._items += results
        return begun, results

    async def _run(self, begun: Sequence[Begun]) -> AsyncIterator[Step]:
        async for each, outcome in run_calls(begun, self._toolbox):
            if isinstance(outcome, Result):
                yield self._tell(each, outcome)
                continue
            hours = self._agent.approval_hours
            self._questions.append(ask_input(each.call, outcome, hours))
            self._taken_back.append(each.take_back())

    def _tell(self, begun: Begun, result: Result) -> Step:
        item = begun.finish(result)
        self._items.append(item)
        return told(item)

    def _waits(self) -> Step | None:
        """The ending of a run whose calls wait for somebody: the user's word, or the frontend's results."""
        waiting = last_calls(self._items)
        pending = [call.key for call in waiting if call.data["executor"] == "client"]
        asked = {question["call_id"] for question in self._questions}
        questions = [*self._questions]
        for call in waiting:
            tool = self._needs_approval(call)
            if tool and call.key not in asked:
                made = Call(call.key, None, tool.name, "server")
                questions.append(ask_approval(made, tool, self._agent.approval_hours))
        if questions:
            data = {"interrupts": questions, "pending_calls": pending}
            return self._end_with([*self._taken_back], "run.interrupted", data)
        return self._end_with([], "run.completed", {"pending_calls": pending}) if pending else None

    def _needs_approval(self, call: Item) -> Tool | None:
        tool = self._toolbox.tools.get(call.data["name"])
        is_ours = call.data["executor"] == "server"
        return tool if is_ours and tool and tool.approval != "never" else None

    def _ending(self, turn: TurnRecorder) -> Draft:
        spent = {"usage": self._usage.to_json()}
        if reason := _INCOMPLETE.get(turn.finish_reason):
            return Draft("run.incomplete", None, {"reason": reason, **spent})
        pending = [call.id for call in turn.calls if call.executor == "client"]
        return Draft("run.completed", None, {**spent, "pending_calls": pending})

    def _incomplete(self, reason: str) -> Step:
        return self._end_with([], "run.incomplete", {"reason": reason})

    def _end_with(self, drafts: Sequence[Draft], type_: EndingType, data: Json) -> Step:
        ending = Draft(type_, None, {**data, "usage": self._usage.to_json()})
        return Step([*drafts, ending], commits=True)

    def _request(self) -> ModelRequest:
        agent, context = self._agent, self._leased.request.get("context") or ()
        return ModelRequest(
            items=fit_history(self._items, agent.instructions, context, agent.context_tokens),
            instructions=agent.instructions,
            context=context,
            tools=specifications(self._toolbox.tools, self._client_tools),
            settings=agent.model,
        )
