"""Connections of `databases` for sessions: with named parameters, SQLAlchemy's expressions and `iterate`.

`databases` imports SQLAlchemy, which takes 160 ms of CPU, so no run and no page waits for it: the first session imports
it, in a thread.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
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


class _Savepoint:
    """A transaction of `databases` inside that of the session.

    asyncpg's own refuses to start, because the session began the outer one. It could also reach the connection after
    the session. This one cannot: the connection refuses all queries once it is released.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def start(self, is_root: bool, extra_options: dict[Any, Any]) -> None:
        if extra_options:
            raise ValueError("A session has one isolation level.")
        # A savepoint hides earlier ones of its name until it is released, and `databases` ends them in order.
        await self._connection.execute("savepoint inner_transaction")

    async def commit(self) -> None:
        await self._connection.execute("release savepoint inner_transaction")

    async def rollback(self) -> None:
        await self._connection.execute(
            "rollback to savepoint inner_transaction; release savepoint inner_transaction"
        )


def _import() -> Any:
    from databases import Database
    from databases.core import Connection

    # Nothing connects to it: its queries only need a dialect.
    database = Database("postgresql://")

    class SessionConnection(Connection):
        """A connection whose `iterate` leaves it free for other queries between two rows.

        That of `databases` holds its lock and a transaction meanwhile: a query inside the loop would wait for ever, and
        the end of the transaction after a `break` would meet the next query.
        """

        async def iterate(
            self, query: Any, values: dict[Any, Any] | None = None
        ) -> AsyncGenerator[Any, None]:
            async with aclosing(self._connection.iterate(self._build_query(query, values))) as rows:
                while True:
                    async with self._query_lock:
                        row = await anext(rows, None)
                    if row is None:
                        return
                    yield row

    def make(connection: Any) -> Connection:
        made = SessionConnection(database, database._backend)
        backend: Any = made._connection
        # Where the backend keeps asyncpg's. It counts as acquired, so `databases` neither acquires nor releases it.
        backend._connection = connection
        made._connection_counter = 1
        backend.transaction = lambda: _Savepoint(connection)
        return made

    return make
