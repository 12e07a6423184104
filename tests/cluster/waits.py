"""Waiting for a cluster by polling."""

import asyncio
from collections.abc import Callable
from typing import Any

from tests.cluster.bundle import ClusterBundle


async def until(seconds: float, what: str, found: Callable[..., Any], *arguments: Any) -> Any:
    """The first true value that the function gives; it fails with the sentence, and the last value, after so long."""
    last = None
    try:
        async with asyncio.timeout(seconds):
            while not (last := await asyncio.to_thread(found, *arguments)):  # noqa: ASYNC110
                await asyncio.sleep(1)
    except TimeoutError:
        raise AssertionError(f"not within {seconds:g} s: {what}; it is {last!r}") from None
    return last


async def asleep(bundle: ClusterBundle, *functions: str) -> None:
    """Whether these functions have no pod."""
    for function in functions:
        # The window, the grace of a cluster's autoscaler, and what pods take to end.
        await until(240, f"no pod of {function}", lambda name: not bundle.pods(name), function)


async def kill(bundle: ClusterBundle, function: str) -> None:
    """Kill all of a function's processes, and wait until the cluster has seen that SIGKILL ended each."""
    containers = await asyncio.to_thread(bundle.kill, function)
    assert containers, f"nothing runs of {function}"
    await until(60, "SIGKILL ended them", lambda: containers <= bundle.killed(function))
