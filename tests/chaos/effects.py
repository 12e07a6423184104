"""A tool server that counts its effects: what really happened, independent of the log."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from shared.core.ids import CALL_ID
from shared.core.json import Json
from tests.chaos.script import CHARGE, LOOK
from tests.fixtures.foreign import foreign

_STARTED = """
select exists (select from agent.run_event where type = 'item.started' and data ->> 'call_id' = $1)
"""


class Effects:
    """Counts calls by id. `early`: those the log did not have as started when they came."""

    def __init__(self, seed: int, owner_url: str) -> None:
        self.done: Counter[tuple[str, str]] = Counter()
        self.early: list[str] = []
        self.url = ""
        self._drawn = random.Random(f"{seed} effects")  # noqa: S311  # it must be the same again
        self._owner_url = owner_url

    async def call(self, params: Json) -> Json:
        """One call: a pause, the effect, a pause, the result; a process may die in any of them."""
        name, call_id = params["name"], params["_meta"][CALL_ID]
        before, after = self._drawn.uniform(0, 0.15), self._drawn.uniform(0, 0.3)
        if not await self._is_started(call_id):
            self.early.append(call_id)
        await asyncio.sleep(before)
        self.done[name, call_id] += 1
        await asyncio.sleep(after)
        return {"content": [{"type": "text", "text": f"{name} {call_id}"}]}

    async def _is_started(self, call_id: str) -> bool:
        connection = await asyncpg.connect(self._owner_url)
        try:
            return bool(await connection.fetchval(_STARTED, call_id))
        finally:
            await connection.close()

    def repeated(self) -> list[str]:
        """Calls with an effect that happened more than once."""
        return [id_ for (name, id_), times in self.done.items() if name == CHARGE and times > 1]

    def happened(self) -> set[str]:
        return {id_ for _, id_ in self.done}


@asynccontextmanager
async def effects(seed: int, owner_url: str) -> AsyncIterator[Effects]:
    """The running server."""
    counting = Effects(seed, owner_url)
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    tools = [{"name": name, "inputSchema": schema} for name in (CHARGE, LOOK)]
    async with foreign(counting.call, *tools) as (url, _):
        counting.url = url
        yield counting
