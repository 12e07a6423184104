"""Calling tools: side by side, each started in the log before it runs, none made twice unless it may be."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Protocol

import orjson

from shared.contracts import Draft, Item, Json, Step, clean
from shared.log import logger
from shared.turn import Call

_UNKNOWN = (
    "The outcome of this call is unknown: it was started, and the process that made it stopped before it had a result."
    " It may or may not have had its effect; it was not made again."
)


class Toolbox(Protocol):
    """The tools the server runs."""

    def specs(self) -> Sequence[Json]:
        """What the model is told: Chat Completions' `tools`."""
        ...

    def is_repeatable(self, name: str) -> bool:
        """Whether a call of unknown outcome may be made again: it reads only, or its id makes it idempotent."""
        ...

    async def call(self, name: str, arguments: Json, call_id: str) -> str:
        """Run one; what goes wrong in it is its result, in words for the model. `call_id` is its idempotency key."""
        ...


class NoTools:
    """The toolbox of an agent that has none of its own."""

    def specs(self) -> Sequence[Json]:
        return ()

    def is_repeatable(self, name: str) -> bool:
        del name
        return False

    async def call(self, name: str, arguments: Json, call_id: str) -> str:
        del arguments, call_id
        return f"There is no tool named {name!r}."


def started(result: tuple[Call, str]) -> Draft:
    """The ledger's entry: a call that has this and no result may have had its effect."""
    call, result_id = result
    return Draft("item.started", result_id, {"kind": "tool_result", "call_id": call.id})


async def finish_calls(
    items: Sequence[Item], open_results: Mapping[str, str], toolbox: Toolbox
) -> AsyncIterator[tuple[Item, Step]]:
    """Of calls that were started and have no result: make again what may be, of the rest say that nobody knows."""
    again = []
    for item in (item for item in items if item.key in open_results):
        if toolbox.is_repeatable(item.data["name"]):
            call = Call(item.key, None, item.data["name"], "server", [item.data["arguments"]])
            again.append((call, open_results[item.key]))
            continue
        data = {"call_id": item.key, "content": _UNKNOWN, "status": "unknown"}
        yield _completed(Item(open_results[item.key], "tool_result", data))
    async for result, step in run_calls(again, toolbox):
        yield result, step


async def run_calls(
    results: Sequence[tuple[Call, str]], toolbox: Toolbox
) -> AsyncIterator[tuple[Item, Step]]:
    """Run the calls side by side; each result is a step as it comes."""
    tasks = [
        asyncio.ensure_future(_run_call(call, result_id, toolbox)) for call, result_id in results
    ]
    try:
        for done in asyncio.as_completed(tasks):
            yield _completed(await done)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _completed(result: Item) -> tuple[Item, Step]:
    completed = {"kind": "tool_result", "item": result.data}
    return result, Step([Draft("item.completed", result.key, completed)], commits=True)


async def _run_call(call: Call, result_id: str, toolbox: Toolbox) -> Item:
    content = await _result(call, toolbox)
    return Item(result_id, "tool_result", {"call_id": call.id, "content": clean(content)})


async def _result(call: Call, toolbox: Toolbox) -> str:
    """What the model is told: whatever goes wrong in a call is its result, and not the run's end."""
    try:
        parsed = orjson.loads("".join(call.arguments) or "{}")
    except orjson.JSONDecodeError:
        return "The arguments are not valid JSON."
    if not isinstance(parsed, dict):
        return "The arguments are not a JSON object."
    try:
        return await toolbox.call(call.name, parsed, call.id)
    except Exception:
        logger.exception("tool.crashed", extra={"tool": call.name})
        return "The tool failed."
