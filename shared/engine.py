"""The loop: ask the model, close the turn, run its calls side by side, again.

`respond` yields what happens as steps; whoever drives it sends or commits each before it asks for the next, so that
code after a `yield` of consequences runs only when they are in the log. `answer` is that driver.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from time import monotonic
from uuid import uuid4

from shared.contracts import Draft, Item, Json, Step, Usage
from shared.journal import Journal
from shared.live import LeaseLost, LiveRun
from shared.log import logger
from shared.model import Model, ModelFailed
from shared.runs import Leased
from shared.tools import NoTools, Toolbox, finish_calls, run_calls, started
from shared.transcript import transcript
from shared.turn import Turn

#: Why a model stops early, in our words.
_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}


class DeadlineReached(Exception):
    """A run has had its time in this process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """Who answers: instructions, tools and limits. `attempts`: how often one turn is asked before the run fails."""

    instructions: str
    toolbox: Toolbox = NoTools()  # noqa: RUF009  # it holds nothing
    max_turns: int = 12
    attempts: int = 3
    context_tokens: int = 128_000


async def respond(
    agent: Agent,
    request: Json,
    history: Sequence[Item],
    model: Model,
    *,
    open_results: Mapping[str, str] | None = None,
) -> AsyncGenerator[Step, None]:
    """The steps of one run, the last of which holds its ending.

    `open_results` are the calls that an earlier holder started and whose results are not in the log, with the items
    these would be: a run that is taken over goes on with them.

    Raises:
        ModelFailed: after the last attempt at a turn.
    """
    items, usage = [*history], Usage()
    client_tools = {tool["name"]: tool for tool in request.get("tools") or ()}
    specs = [*agent.toolbox.specs(), *map(_spec, client_tools.values())]
    async for result, step in finish_calls(items[:], open_results or {}, agent.toolbox):
        items.append(result)
        yield step
    if waiting := _waiting(items):
        yield _end_of_calls(waiting, usage)
        return
    for _ in range(agent.max_turns):
        asking = _Asking(model, client_tools, agent.attempts)
        async for step in asking.steps(_messages(agent, request, items), specs):
            yield step
        turn = asking.turn
        usage += turn.usage
        closing, mine = turn.close(), [c for c in turn.calls if c.executor == "server"]
        if not mine or turn.reason in _INCOMPLETE:
            yield Step([*closing, _ending(turn, usage)], commits=True, closes=True)
            return
        results = [(call, str(uuid4())) for call in mine]
        yield Step([*closing, *map(started, results)], commits=True, closes=True)
        items += turn.items
        async for result, step in run_calls(results, agent.toolbox):
            items.append(result)
            yield step
        if waiting := [call.id for call in turn.calls if call.executor == "client"]:
            yield _end_of_calls(waiting, usage)
            return
    spent: Json = {"reason": "max_turns", "usage": usage.to_json()}
    yield Step([Draft("run.incomplete", None, spent)], commits=True)


def _messages(agent: Agent, request: Json, items: Sequence[Item]) -> list[Json]:
    context = request.get("context") or ()
    return transcript(agent.instructions, context, items, agent.context_tokens)


def _end_of_calls(waiting: list[str], usage: Usage) -> Step:
    done: Json = {"usage": usage.to_json(), "pending_calls": waiting}
    return Step([Draft("run.completed", None, done)], commits=True)


class _Asking:
    """One turn, asked again when it breaks off: what it had said by then is taken back. `turn` is the last one."""

    def __init__(self, model: Model, client_tools: Json, attempts: int) -> None:
        self.turn = Turn(client_tools)
        self._model = model
        self._client_tools = client_tools
        self._attempts = attempts

    async def steps(self, messages: list[Json], specs: list[Json]) -> AsyncIterator[Step]:
        for attempt in range(1, self._attempts + 1):
            self.turn = Turn(self._client_tools)
            try:
                async with aclosing(self._model.stream(messages, specs)) as parts:
                    async for part in parts:
                        drafts = self.turn.take(part)
                        yield Step(drafts)
                return
            except ModelFailed as failed:
                logger.warning("model.failed", extra={"code": failed.code, "attempt": attempt})
                if attempt == self._attempts or not failed.retryable:
                    raise
            if taken_back := self.turn.take_back("model_broke_off"):
                yield Step(taken_back, commits=True)
            await asyncio.sleep(random.uniform(0.2, 0.4) * 2**attempt)  # noqa: S311  # jitter


def _ending(turn: Turn, usage: Usage) -> Draft:
    if reason := _INCOMPLETE.get(turn.reason):
        return Draft("run.incomplete", None, {"reason": reason, "usage": usage.to_json()})
    pending = [call.id for call in turn.calls if call.executor == "client"]
    return Draft("run.completed", None, {"usage": usage.to_json(), "pending_calls": pending})


def _spec(tool: Json) -> Json:
    function = {"name": tool["name"], "description": tool.get("description") or ""}
    parameters = tool.get("parameters") or {"type": "object", "properties": {}}
    return {"type": "function", "function": {**function, "parameters": parameters}}


def _waiting(items: Sequence[Item]) -> list[str]:
    """The frontend calls that the thread ends with: the turn was closed, and its holder died before the ending."""
    answered = {item.data["call_id"] for item in items if item.kind == "tool_result"}
    waiting: list[str] = []
    for item in reversed(items):
        if item.kind == "tool_call" and item.data["executor"] == "client":
            waiting.insert(0, item.key)
        elif item.kind == "message":
            break
    return [] if answered & set(waiting) else waiting


async def answer(
    live: LiveRun, journal: Journal, agent: Agent, model: Model, *, seconds: float
) -> None:
    """Drive a run to its ending, which is written exactly once, whatever happens: failed or cancelled.

    A run that was lost to another process just stops; one that is stopped with its process is left to be released.

    Raises:
        DeadlineReached: it may not go on here, and should be given back: at a turn's edge where there is one in time.
    """
    try:
        async with asyncio.timeout(seconds):
            await _drive(live, journal, agent, model, edge_at=monotonic() + seconds * 0.8)
        return
    except LeaseLost:
        return
    except asyncio.CancelledError:
        if live.is_lost:
            return
        if not live.cancel_asked:
            raise
        ending = Draft("run.cancelled")
    except TimeoutError:
        raise DeadlineReached from None
    except DeadlineReached:
        raise
    except ModelFailed as failed:
        ending = _failed(failed.code, failed.message, retryable=failed.retryable)
    except Exception:
        logger.exception("run.crashed")
        ending = _failed("internal_error", "Something went wrong on our side.", retryable=False)
    await _end(live, journal, ending)


async def _drive(
    live: LiveRun, journal: Journal, agent: Agent, model: Model, *, edge_at: float
) -> None:
    leased: Leased = live.leased
    open_results = leased.open_results
    steps = respond(agent, leased.request, leased.items, model, open_results=open_results)
    async with aclosing(steps):
        async for step in steps:
            if not step.commits:
                await journal.send(live, step.drafts)
                continue
            await journal.commit(live, step.drafts, closes=step.closes)
            if not live.has_ending and not live.has_open_calls and monotonic() > edge_at:
                raise DeadlineReached


async def _end(live: LiveRun, journal: Journal, ending: Draft) -> None:
    if live.has_ending:
        # Cancelled while its own ending was on its way: the first one counts.
        await journal.settle(live)
        return
    reason = ending.type.removeprefix("run.")
    await journal.commit(live, [*live.open.close(reason), ending])


def _failed(code: str, message: str, *, retryable: bool) -> Draft:
    return Draft("run.failed", None, {"code": code, "message": message, "retryable": retryable})
