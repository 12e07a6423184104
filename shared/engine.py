"""The loop: ask the model, close the turn, run its calls side by side, again.

`respond` yields what happens as steps; whoever drives it sends or commits each before it asks for the next, so that
code after a `yield` of consequences runs only when they are in the log. `answer` is that driver.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import NamedTuple, Protocol
from uuid import uuid4

import orjson

from shared.contracts import Draft, Item, Json, Usage, clean
from shared.journal import Journal
from shared.live import LeaseLost, LiveRun
from shared.log import logger
from shared.model import Model, ModelFailed
from shared.runs import Leased
from shared.transcript import transcript
from shared.turn import Call, Turn

#: Why a model stops early, in our words.
_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """Who answers: instructions and limits. `attempts`: how often one turn is asked before the run fails."""

    instructions: str
    max_turns: int = 12
    attempts: int = 3
    context_tokens: int = 128_000


class Toolbox(Protocol):
    """The tools the server runs."""

    def specs(self) -> Sequence[Json]:
        """What the model is told: Chat Completions' `tools`."""
        ...

    async def call(self, name: str, arguments: Json) -> str:
        """Run one; what goes wrong in it is its result, in words for the model."""
        ...


class NoTools:
    """The toolbox of an agent that has none of its own."""

    def specs(self) -> Sequence[Json]:
        return ()

    async def call(self, name: str, arguments: Json) -> str:
        del arguments
        return f"There is no tool named {name!r}."


class Step(NamedTuple):
    """Events to send at once, or with consequences: to commit first. `closes` a turn: a takeover goes on behind it."""

    drafts: Sequence[Draft]
    commits: bool = False
    closes: bool = False


async def respond(
    agent: Agent, request: Json, history: Sequence[Item], model: Model, toolbox: Toolbox
) -> AsyncGenerator[Step, None]:
    """The steps of one run, the last of which holds its ending.

    Raises:
        ModelFailed: after the last attempt at a turn.
    """
    items, usage = [*history], Usage()
    client_tools = {tool["name"]: tool for tool in request.get("tools") or ()}
    specs = [*toolbox.specs(), *map(_spec, client_tools.values())]
    for _ in range(agent.max_turns):
        messages = transcript(
            agent.instructions, request.get("context") or (), items, agent.context_tokens
        )
        asking = _Asking(model, client_tools, agent.attempts)
        async for step in asking.steps(messages, specs):
            yield step
        turn = asking.turn
        usage += turn.usage
        closing, mine = turn.close(), [c for c in turn.calls if c.executor == "server"]
        if not mine or turn.reason in _INCOMPLETE:
            yield Step([*closing, _ending(turn, usage)], commits=True, closes=True)
            return
        results = [(call, str(uuid4())) for call in mine]
        yield Step([*closing, *map(_started, results)], commits=True, closes=True)
        items += turn.items
        async for result, step in _run_calls(results, toolbox):
            items.append(result)
            yield step
        if len(mine) < len(turn.calls):
            yield Step([_ending(turn, usage)], commits=True)
            return
    spent: Json = {"reason": "max_turns", "usage": usage.to_json()}
    yield Step([Draft("run.incomplete", None, spent)], commits=True)


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
            said: dict[str, None] = {}
            try:
                async with aclosing(self._model.stream(messages, specs)) as parts:
                    async for part in parts:
                        drafts = self.turn.take(part)
                        said.update((draft.item_id, None) for draft in drafts if draft.item_id)
                        yield Step(drafts)
                return
            except ModelFailed as failed:
                logger.warning("model.failed", extra={"code": failed.code, "attempt": attempt})
                if attempt == self._attempts or not failed.retryable:
                    raise
            if said:
                broken = {"reason": "model_broke_off"}
                yield Step([Draft("item.aborted", item, broken) for item in said], commits=True)
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


def _started(result: tuple[Call, str]) -> Draft:
    # The ledger's entry: a call that has this and no result may have had its effect.
    call, result_id = result
    return Draft("item.started", result_id, {"kind": "tool_result", "call_id": call.id})


async def _run_calls(
    results: Sequence[tuple[Call, str]], toolbox: Toolbox
) -> AsyncIterator[tuple[Item, Step]]:
    """Run the calls side by side; each result is a step as it comes."""
    tasks = [
        asyncio.ensure_future(_run_call(call, result_id, toolbox)) for call, result_id in results
    ]
    try:
        for done in asyncio.as_completed(tasks):
            result = await done
            completed = {"kind": "tool_result", "item": result.data}
            yield result, Step([Draft("item.completed", result.key, completed)], commits=True)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _run_call(call: Call, result_id: str, toolbox: Toolbox) -> Item:
    content = await _result(call.name, "".join(call.arguments) or "{}", toolbox)
    return Item(result_id, "tool_result", {"call_id": call.id, "content": clean(content)})


async def _result(name: str, arguments: str, toolbox: Toolbox) -> str:
    """What the model is told: whatever goes wrong in a call is its result, and not the run's end."""
    try:
        parsed = orjson.loads(arguments)
    except orjson.JSONDecodeError:
        return "The arguments are not valid JSON."
    if not isinstance(parsed, dict):
        return "The arguments are not a JSON object."
    try:
        return await toolbox.call(name, parsed)
    except Exception:
        logger.exception("tool.crashed", extra={"tool": name})
        return "The tool failed."


async def answer(
    live: LiveRun, journal: Journal, agent: Agent, model: Model, toolbox: Toolbox, *, seconds: float
) -> None:
    """Drive a run to its ending, which is written exactly once, whatever happens: failed, cancelled, out of time.

    A run that was lost to another process just stops. One that is stopped with the process is left to be released.
    """
    leased: Leased = live.leased
    try:
        async with asyncio.timeout(seconds):
            steps = respond(agent, leased.request, leased.items, model, toolbox)
            async with aclosing(steps):
                async for step in steps:
                    if step.commits:
                        await journal.commit(live, step.drafts, closes=step.closes)
                    else:
                        await journal.send(live, step.drafts)
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
        ending = Draft("run.incomplete", None, {"reason": "deadline"})
    except ModelFailed as failed:
        ending = _failed(failed.code, failed.message, retryable=failed.retryable)
    except Exception:
        logger.exception("run.crashed")
        ending = _failed("internal_error", "Something went wrong on our side.", retryable=False)
    await _end(live, journal, ending)


async def _end(live: LiveRun, journal: Journal, ending: Draft) -> None:
    if live.has_ending:
        # Cancelled while its own ending was on its way: the first one counts.
        await journal.settle(live)
        return
    reason = ending.type.removeprefix("run.")
    await journal.commit(live, [*live.open.close(reason), ending])


def _failed(code: str, message: str, *, retryable: bool) -> Draft:
    return Draft("run.failed", None, {"code": code, "message": message, "retryable": retryable})
