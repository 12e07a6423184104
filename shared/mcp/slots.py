"""Limits the concurrent calls of one user, in all processes together; more calls wait."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final
from uuid import UUID, uuid4
from weakref import WeakValueDictionary

from shared.core import ToolSettings, Unavailable
from shared.database import Database

_FIRST_WAIT_SECONDS: Final = 0.1
_LONGEST_WAIT_SECONDS: Final = 1.0
#: How much longer than its call's limit a slot is held at most.
_MARGIN_SECONDS: Final = 5.0


class Slots:
    """A user's call slots, TOOL_CALLS_AT_ONCE of them.

    Calls of one process wait in order, and only as many as there are slots query Postgres.
    """

    def __init__(self, database: Database, settings: ToolSettings) -> None:
        self._database = database
        self._at_once = max(1, settings.tool_calls_at_once)
        self._seconds = settings.tool_seconds + _MARGIN_SECONDS
        self._semaphores: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    @asynccontextmanager
    async def hold(self, user: str, run_id: str, call_id: str) -> AsyncIterator[None]:
        """Wait for a slot and hold it until the block ends. If Postgres is away, only this process's calls count."""
        semaphore = self._semaphores.get(user)
        if semaphore is None:
            semaphore = self._semaphores[user] = asyncio.Semaphore(self._at_once)
        # Chosen here, so that a slot can be freed even if the result that granted it was lost.
        token = uuid4()
        async with semaphore:
            try:
                await self._take_slot(run_id, call_id, token)
                yield
            finally:
                with suppress(Unavailable):
                    await self._database.call("free_call_slot", run_id, token)

    async def _take_slot(self, run_id: str, call_id: str, token: UUID) -> None:
        wait = _FIRST_WAIT_SECONDS
        with suppress(Unavailable):
            while not await self._database.call(
                "take_call_slot", run_id, call_id, token, self._at_once, self._seconds
            ):
                await asyncio.sleep(wait)
                wait = min(wait * 1.5, _LONGEST_WAIT_SECONDS)
