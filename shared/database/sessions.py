"""Connections of `databases` for sessions: with named parameters, SQLAlchemy's expressions and `iterate`.

`databases` imports SQLAlchemy, which takes 160 ms of CPU, so no run and no page waits for it: the first session imports
it, in a thread.
"""

import asyncio
from typing import TYPE_CHECKING, Any

from shared.core import Once

if TYPE_CHECKING:
    from databases.core import Connection as Connection


class Sessions:
    """Makes connections of `databases` that use a connection of our own pool, so that a process has only one pool."""

    def __init__(self) -> None:
        self._make: Once[Any] = Once(lambda: asyncio.to_thread(_import))

    async def over(self, connection: Any) -> "Connection":
        """A connection of `databases` over this one of asyncpg. The caller releases that one."""
        made: Connection = (await self._make())(connection)
        return made


def _import() -> Any:
    from databases import Database
    from databases.core import Connection

    # Nothing connects to it: its queries only need a dialect.
    database = Database("postgresql://")

    def make(connection: Any) -> Connection:
        made = Connection(database, database._backend)
        made._connection._connection = connection  # type: ignore[attr-defined]  # where its backend keeps asyncpg's
        return made

    return make
