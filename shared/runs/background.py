"""Tasks that outlive the request that started them."""

import asyncio
from collections.abc import Coroutine
from typing import Any


class BackgroundTasks:
    """Keeps tasks until they end. A stop waits for the brief ones and cancels the rest."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._brief: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, Any], *, is_brief: bool = False) -> None:
        """Run work that no request waits for."""
        task = asyncio.ensure_future(work)
        for tasks in (self._tasks, self._brief) if is_brief else (self._tasks,):
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    @property
    def has_brief(self) -> bool:
        return bool(self._brief)

    async def cancel(self) -> None:
        """End all of them."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
