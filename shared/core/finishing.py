"""Work that finishes even if its callers are cancelled."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

Result = TypeVar("Result")


class Once(Generic[Result]):
    """Runs work once for all callers, even if some of them are cancelled.

    After a failure, the next call runs it again: the process lives on, and the cause may be gone.
    """

    def __init__(self, work: Callable[[], Coroutine[Any, Any, Result]]) -> None:
        self._work = work
        self._running: asyncio.Future[Result] | None = None

    async def __call__(self) -> Result:
        if self._running is None or _has_failed(self._running):
            self._running = asyncio.ensure_future(self._work())
        return await asyncio.shield(self._running)

    @property
    def is_done(self) -> bool:
        return self._running is not None and self._running.done() and not _has_failed(self._running)

    async def settled(self) -> bool:
        """Wait for a run in progress, then tell whether the work is done."""
        if self._running:
            await asyncio.wait([self._running])
        return self.is_done


def _has_failed(running: asyncio.Future[Any]) -> bool:
    return running.done() and (running.cancelled() or running.exception() is not None)


async def to_the_end(work: Coroutine[Any, Any, None]) -> None:
    """Await work to its end even if the caller is cancelled meanwhile; the cancellation is raised afterwards."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled:
        raise cancelled
    task.result()
