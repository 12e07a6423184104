"""How many calls of one user run at the same time, in all processes together; more wait their turn."""

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
#: A slot outlives its call's own limit by so much.
_MARGIN_SECONDS: Final = 5.0


class Slots:
    """A user's slots, TOOL_CALLS_AT_ONCE of them. Those of this process wait in order, and only the first few of them
    ask Postgres."""

    def __init__(self, database: Database, settings: ToolSettings) -> None:
        self._database = database
        self._at_once = max(1, settings.tool_calls_at_once)
        self._seconds = settings.tool_seconds + _MARGIN_SECONDS
        self._turns: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    @asynccontextmanager
    async def hold(self, user: str, run_id: str, call_id: str) -> AsyncIterator[None]:
        """Wait for a slot, and have it until the block ends. Without Postgres this process's own calls are counted."""
        turn = self._turns.get(user)
        if turn is None:
            turn = self._turns[user] = asyncio.Semaphore(self._at_once)
        # Ours, so that a slot whose answer was lost can be given back too.
        token = uuid4()
        async with turn:
            try:
                await self._take(run_id, call_id, token)
                yield
            finally:
                with suppress(Unavailable):
                    await self._database.call("free_call_slot", run_id, token)

    async def _take(self, run_id: str, call_id: str, token: UUID) -> None:
        wait = _FIRST_WAIT_SECONDS
        with suppress(Unavailable):
            while not await self._database.call(
                "take_call_slot", run_id, call_id, token, self._at_once, self._seconds
            ):
                await asyncio.sleep(wait)
                wait = min(wait * 1.5, _LONGEST_WAIT_SECONDS)
