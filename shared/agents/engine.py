"""Executes a run to its ending: sends or commits each step of its loop, and writes exactly one ending."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from time import monotonic

from shared.agents.bound import BoundAgent
from shared.agents.calling import TookTooLong, call_function
from shared.agents.context import RunContext, ToolUser
from shared.agents.failures import RunFailed
from shared.agents.loop import Loop, ReadTokensLeft, unlimited
from shared.agents.threads import NotStarted
from shared.core import Draft, Step, error_facts, failed, logger
from shared.models import ModelFailed
from shared.runs import Leased, LeaseLost, LiveRun, ReleaseDue

#: After this part of its time in one process, a run is released at the end of its turn.
_RELEASE_AFTER = 0.8
_NO_INSTRUCTIONS = "The agent's instructions took too long to make."


async def execute_run(
    live: LiveRun,
    agent: BoundAgent,
    *,
    seconds: float,
    read_tokens_left: ReadTokensLeft = unlimited,
) -> None:
    """Execute a run to its ending, which is written exactly once, also after an error or a cancel.

    `seconds`: how long this process may execute the run. If the lease is lost, the attempt ends without an ending. If
    the task is cancelled because the process stops, `CancelledError` is raised, and the caller releases the run.

    Raises:
        ReleaseDue: the time is over, or the process stops. Raised when a turn ends, or at the time limit in the middle
            of one.
    """
    live.release_after_turn(monotonic() + seconds * _RELEASE_AFTER)
    try:
        async with asyncio.timeout(seconds) as limit:
            steps = await _open_steps(live.leased, agent, read_tokens_left)
            await _write_steps(live, steps)
        return
    except LeaseLost:
        return
    except asyncio.CancelledError:
        if live.is_dropped:
            return
        if not live.is_cancelled:
            raise
        ending = Draft("run.cancelled")
    except ReleaseDue:
        raise
    except Exception as error:
        # The code of an agent can raise one of its own.
        if isinstance(error, TimeoutError) and limit.expired():
            raise ReleaseDue from None
        ending = _failure(error)
    await _commit_ending(live, ending)


async def _open_steps(
    leased: Leased, agent: BoundAgent, read_tokens_left: ReadTokensLeft
) -> AsyncGenerator[Step, None]:
    run = _context(leased, agent)
    toolbox, instructions = await asyncio.gather(agent.tools.open(run), _instructions(agent, run))
    return Loop(agent, instructions, leased, toolbox, read_tokens_left).steps()


def _context(leased: Leased, agent: BoundAgent) -> RunContext:
    return RunContext(
        id=leased.run_id,
        user=ToolUser(leased.claims),
        agent=agent.name,
        client_run_id=leased.client_run_id,
        client_thread_id=leased.client_thread_id,
        request_id=leased.request.get("request_id"),
        state=leased.request.get("state"),
    )


async def _instructions(agent: BoundAgent, run: RunContext) -> str:
    """The instructions of this run.

    Raises:
        RunFailed: their function took too long, or no thread was free for it. And whatever it raises.
    """
    if isinstance(agent.instructions, str):
        return agent.instructions
    make, name = partial(agent.instructions, run), f"instructions of {run.agent}"
    seconds = agent.instructions_seconds
    try:
        text = await call_function(make, name=name, user=run.user.id, seconds=seconds)
    except (TookTooLong, NotStarted):
        raise RunFailed("instructions_timeout", _NO_INSTRUCTIONS, retryable=True) from None
    if not isinstance(text, str):
        raise TypeError(f"The instructions are {type(text).__name__} instead of a text.")
    return text


async def _write_steps(live: LiveRun, steps: AsyncGenerator[Step, None]) -> None:
    async with aclosing(steps):
        async for step in steps:
            if not step.commits:
                await live.send(step.drafts)
                continue
            await live.commit(step.drafts, closes_turn=step.closes)
            live.release_if_due()


async def _commit_ending(live: LiveRun, ending: Draft) -> None:
    # A cancel that comes now must not cut the commit of this ending, or the run would stay without one.
    live.set_cancellable_task(None)
    if live.has_ending:
        # The run was cancelled while its own ending was being committed: the first ending counts.
        await live.settle()
        return
    if ending.type == "run.failed":
        failed(ending.data["code"])
    reason = ending.type.removeprefix("run.")
    await live.commit([*live.close_items(reason), ending])


def _failure(error: Exception) -> Draft:
    if not isinstance(error, ModelFailed | RunFailed):
        logger.error("run.crashed", extra=error_facts(error))
        error = RunFailed("internal_error", "Something went wrong on our side.", retryable=False)
    data = {"code": error.code, "message": error.message, "retryable": error.retryable}
    return Draft("run.failed", None, data)
