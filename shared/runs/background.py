"""Tasks that no request waits for."""

import asyncio
from collections.abc import Coroutine
from typing import Any


class BackgroundTasks:
    """Starts tasks and keeps them until they end. A stop waits for the brief ones, and cancels the rest."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._brief: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, Any], *, is_brief: bool = False) -> None:
        """Run this in a task. `is_brief`: a stop waits for it."""
        task = asyncio.ensure_future(work)
        for tasks in (self._tasks, self._brief) if is_brief else (self._tasks,):
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    @property
    def has_brief(self) -> bool:
        """Whether a stop must still wait."""
        return bool(self._brief)

    async def cancel(self) -> None:
        """Cancel all tasks, and wait until they have ended."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
