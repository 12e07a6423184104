"""Calls a developer's function: a coroutine function on the event loop, a plain function in a thread."""

import asyncio
import inspect
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import lru_cache, partial
from typing import Any, Final

#: Plain functions that run at once in this process; more wait.
_THREADS: Final = 32


async def call_function(function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """The function's result. A plain function keeps the ids that log lines carry; a coroutine it returns is awaited.

    Raises:
        RuntimeError: the function raised what is no error (`SystemExit`, a cancel that nobody requested): it must
            not end the process, nor pass for the end of the run. And whatever errors the function raises.
    """
    call = partial(function, *arguments, **named)
    try:
        if inspect.iscoroutinefunction(function):
            return await call()
        loop = asyncio.get_running_loop()
        result = await loop.run_in_executor(_threads(), copy_context().run, _call_plain, call)
        return await result if inspect.isawaitable(result) else result
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


def _call_plain(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except StopIteration as error:
        # asyncio cannot pass it on: the caller would wait for ever.
        raise RuntimeError("The function raised StopIteration.") from error


@lru_cache(maxsize=1)
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_THREADS, thread_name_prefix="tool")
