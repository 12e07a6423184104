"""Work that is seen to its end, whoever gives up on it meanwhile."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

Result = TypeVar("Result")


class Once(Generic[Result]):
    """Work that is done once, for all who ask, however many of them give up meanwhile.

    What failed is done again by whoever asks next: a process lives on, and what was wrong may be over.
    """

    def __init__(self, work: Callable[[], Coroutine[Any, Any, Result]]) -> None:
        self._work = work
        self._doing: asyncio.Future[Result] | None = None

    async def __call__(self) -> Result:
        if self._doing is None or _has_failed(self._doing):
            self._doing = asyncio.ensure_future(self._work())
        return await asyncio.shield(self._doing)

    @property
    def is_done(self) -> bool:
        return self._doing is not None and self._doing.done() and not _has_failed(self._doing)

    async def settled(self) -> bool:
        """Whether it is done, once it is not being done any more."""
        if self._doing:
            await asyncio.wait([self._doing])
        return self.is_done


def _has_failed(doing: asyncio.Future[Any]) -> bool:
    return doing.done() and (doing.cancelled() or doing.exception() is not None)


async def to_the_end(work: Coroutine[Any, Any, None]) -> None:
    """Await to the end, however often the caller is cancelled meanwhile; then be cancelled."""
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
