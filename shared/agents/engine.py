"""Drives a run to its ending: each step of its loop is sent, or committed first, and exactly one ending is written."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from time import monotonic

from shared.agents.loop import Agent, Loop, TokensLeft, unlimited
from shared.core import Draft, Step, failed, logger
from shared.models import Model, ModelFailed
from shared.runs import DeadlineReached, Leased, LeaseLost, LiveRun, LogWriter

#: After this part of its time in one process, a run is released at the end of a turn.
_EDGES = 0.8


async def answer(
    live: LiveRun,
    journal: LogWriter,
    agent: Agent,
    model: Model,
    *,
    seconds: float,
    tokens_left: TokensLeft = unlimited,
) -> None:
    """Drive a run to its ending, which is written exactly once, whatever happens: failed or cancelled.

    A run that was lost to another process just stops; one that is stopped with its process is left to be released.

    Raises:
        DeadlineReached: it may not go on here, and should be given back: at a turn's edge where there is one in time.
    """
    live.edges_at = min(live.edges_at, monotonic() + seconds * _EDGES)
    try:
        async with asyncio.timeout(seconds):
            steps = await _open(live.leased, agent, model, tokens_left)
            await _drive(live, journal, steps)
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
    except ModelFailed as error:
        ending = _failed(error.code, error.message, retryable=error.retryable)
    except Exception:
        logger.exception("run.crashed")
        ending = _failed("internal_error", "Something went wrong on our side.", retryable=False)
    await _end(live, journal, ending)


async def _open(
    leased: Leased, agent: Agent, model: Model, tokens_left: TokensLeft
) -> AsyncGenerator[Step, None]:
    request_id = leased.request.get("request_id")
    toolbox = await agent.tools.open(leased.claims, leased.run_id, request_id)
    return Loop(agent, leased, model, toolbox, tokens_left).steps()


async def _drive(live: LiveRun, journal: LogWriter, steps: AsyncGenerator[Step, None]) -> None:
    async with aclosing(steps):
        async for step in steps:
            if not step.commits:
                await journal.send(live, step.drafts)
                continue
            await journal.commit(live, step.drafts, closes=step.closes)
            if not live.has_ending and not live.has_open_calls and monotonic() > live.edges_at:
                raise DeadlineReached


async def _end(live: LiveRun, journal: LogWriter, ending: Draft) -> None:
    if live.has_ending:
        # Cancelled while its own ending was on its way: the first one counts.
        await journal.settle(live)
        return
    if ending.type == "run.failed":
        failed(ending.data["code"])
    reason = ending.type.removeprefix("run.")
    await journal.commit(live, [*live.open.close(reason), ending])


def _failed(code: str, message: str, *, retryable: bool) -> Draft:
    return Draft("run.failed", None, {"code": code, "message": message, "retryable": retryable})
