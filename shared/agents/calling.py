"""Calls a developer's function: a coroutine function on the event loop, a plain function in a thread."""

import asyncio
import inspect
from collections.abc import Callable
from typing import Any, Final

from shared.agents.threads import threads

#: The part of a call's time that a plain function may wait for a thread; so at least the rest is left when it starts.
_WAIT: Final = 0.5


class TookTooLong(TimeoutError):
    """The function did not end in time; it may have had its effect. A plain one continues in its thread."""


async def call_function(
    function: Callable[[], Any], *, name: str, user: str, seconds: float
) -> Any:
    """The function's result. A plain function keeps the ids that log lines carry; a coroutine it returns is awaited.

    `name` and `user` (an id): the calls that share threads with this one. `seconds`: how long it may take, with the
    wait for a thread.

    Raises:
        NotStarted: it is plain, and no thread was free in half of the time.
        TookTooLong: it did not end in time.
        RuntimeError: the function raised what is no error (`SystemExit`, a cancel that nobody requested): it must
            not end the process, nor pass for the end of the run. And whatever errors the function raises.
    """
    try:
        async with asyncio.timeout(seconds) as limit:
            if inspect.iscoroutinefunction(function):
                return await function()
            wait_seconds = seconds * _WAIT
            result = await threads().run(function, name=name, user=user, wait_seconds=wait_seconds)
            return await result if inspect.isawaitable(result) else result
    except TimeoutError:
        if limit.expired():
            raise TookTooLong from None
        raise
    except Exception:
        raise
    except BaseException as error:
        if isinstance(error, asyncio.CancelledError) and is_being_cancelled():
            raise
        raise RuntimeError(f"The function raised {type(error).__name__}.") from error


def is_being_cancelled() -> bool:
    """Whether the current task is being cancelled; otherwise a CancelledError comes from something it awaited."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
