"""Postgres, behind the only doors there are: a function of schema `agent`, or a session that acts as a user.

The library is `databases`, of which this module uses the pool and the connection and nothing that is bound to the
calling task: children of a request share its session, and no query can run outside the row-level security that was
asked for. docs/decisions.md lists the traps this avoids; tests/postgres/test_database.py holds each of them shut.

It brings SQLAlchemy, half as much again as all else a small function imports, so it is imported in a thread once the
server is up: until then a plain connection says whether Postgres is there.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import orjson

from shared.core import DatabaseSettings, InvalidSettings, Once, Unavailable, logger, to_the_end
from shared.database.statements import call_of, session_of, written

_READY_SECONDS = 2.0
#: A process that stops does not wait longer for a Postgres that does not answer.
_CLOSE_SECONDS = 1.0
_TRANSACTION_POOLER_PORT = 6543
_REFUSED = "AF001"

#: Postgres is away, starting, stopping, full, too slow, or read-only: not the caller's fault, and it may pass.
_AWAY = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.LockNotAvailableError,
)


class Refused(Exception):
    """A function of the schema refused: `code` is the stable word it raised."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.detail = detail


class Database:
    """A pool of connections. Every wait has an end; whatever happens, a connection comes back clean or not at all."""

    def __init__(self, settings: DatabaseSettings) -> None:
        self._seconds = settings.database_seconds
        self._may_bypass = settings.allow_bypassrls_login
        self._checked = False
        self._ready_until = 0.0
        self._url = url = settings.supabase_database_url
        # A transaction pooler gives each statement to another server, which never saw it prepared.
        self._cached = 0 if urlsplit(url).port == _TRANSACTION_POOLER_PORT else 256
        self._connections = settings.database_connections
        #: Opens the pool, which imports its library off the event loop: whoever comes first has it done.
        self._open: Once[tuple[Any, type]] = Once(self._opened)

    async def connect(self) -> None:
        """Look whether Postgres is there. One that is away is reported by `is_ready`, not here.

        Raises:
            InvalidSettings: the login bypasses row-level security and nobody allowed it.
        """
        if not await self.is_ready():
            logger.warning("database.away")

    async def warm(self) -> None:
        """Open the pool before somebody needs it."""
        await self._open()

    async def close(self) -> None:
        if await self._open.settled():
            pool, _ = await self._open()
            with suppress(TimeoutError):
                async with asyncio.timeout(_CLOSE_SECONDS):
                    await pool.disconnect()

    async def _opened(self) -> tuple[Any, type]:
        pool_type, connection_type = await asyncio.to_thread(_import)
        # The url goes to asyncpg whole: `databases` drops sslmode and most other options without a word.
        pool = pool_type(
            self._url,
            dsn=self._url,
            min_size=0,
            max_size=self._connections,
            timeout=self._seconds,
            command_timeout=self._seconds,
            max_inactive_connection_lifetime=45.0,
            statement_cache_size=self._cached,
            # Every setting is local to its transaction, so there is nothing to reset: half the trips of a run.
            reset=_keep,
            init=self._check_login,
        )
        await pool.connect()
        return pool, connection_type

    async def call(self, function: str, *arguments: Any) -> Any:
        """Call `agent.<function>`: one statement, one trip. Returns its value, JSON decoded.

        Raises:
            Refused: the function did.
            Unavailable: Postgres cannot be reached in time.
        """
        async with self._connection() as connection:
            value = await connection.fetchval(
                f"select {call_of(function, arguments)}", *written(arguments)
            )
        return orjson.loads(value) if isinstance(value, str) and value[:1] in "{[" else value

    async def rows(self, function: str, *arguments: Any) -> list[Mapping[str, Any]]:
        """Call `agent.<function>` for its rows; raises as `call` does."""
        sql = "select * from " + call_of(function, arguments)  # noqa: S608  # the name is checked
        async with self._connection() as connection:
            rows = await connection.fetch(sql, *written(arguments))
        return list(rows)

    @asynccontextmanager
    async def session(self, claims: Mapping[str, object]) -> AsyncIterator[Any]:
        """A transaction that acts as the user of verified claims, committed at the end: yields an asyncpg connection.

        It belongs to no task: child tasks and generators inside it see the same rows, one query at a time.

        Raises:
            Unavailable: Postgres cannot be reached in time.
        """
        async with self._connection() as connection:
            try:
                await connection.execute(session_of(claims, self._seconds))
                yield connection
                await connection.execute("commit")
            except BaseException:
                await to_the_end(_roll_back(connection))
                raise

    async def is_ready(self) -> bool:
        """Whether Postgres answered in the last two seconds."""
        if monotonic() < self._ready_until:
            return True
        try:
            if self._open.is_done:
                async with self._connection() as connection:
                    await connection.fetchval("select 1")
            else:
                await self._look()
        except Unavailable:
            return False
        self._ready_until = monotonic() + _READY_SECONDS
        return True

    async def _look(self) -> None:
        """See whether Postgres answers, without a pool."""
        with self._translated():
            async with asyncio.timeout(self._seconds):
                connection = await asyncpg.connect(self._url, statement_cache_size=0)
                try:
                    await self._check_login(connection)
                finally:
                    connection.terminate()

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        pool, connection_type = await self._open()
        # An explicit Connection: the one `databases` hands out is bound to the task that asked for it.
        connection = connection_type(pool, pool._backend)
        with self._translated():
            async with asyncio.timeout(self._seconds):
                await connection.__aenter__()
            try:
                yield connection.raw_connection
            finally:
                await to_the_end(connection.__aexit__())

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """What Postgres and the way to it raise, as what callers know."""
        try:
            yield
        except _AWAY as error:
            self._ready_until = 0.0
            logger.warning("database.unavailable", extra={"error": type(error).__name__})
            raise Unavailable(retry_after=2) from error
        except asyncpg.PostgresError as error:
            if code := _refusal(error):
                raise Refused(code, str(error.detail or "")) from None
            # It quotes the row, and a log must not.
            error.detail = None
            raise

    async def _check_login(self, connection: Any) -> None:
        if self._checked or self._may_bypass:
            return
        if await connection.fetchval(
            "select rolsuper or rolbypassrls from pg_roles where rolname = session_user"
        ):
            raise InvalidSettings(
                "SUPABASE_DATABASE_URL names a login that bypasses row-level security: use agent_api, or set"
                " ALLOW_BYPASSRLS_LOGIN=1 where a pooler admits no other."
            )
        self._checked = True


def _import() -> tuple[type, type]:
    from databases import Database as Pool
    from databases.core import Connection

    return Pool, Connection


def _refusal(error: asyncpg.PostgresError) -> str | None:
    """The code by which the schema refuses, if it does."""
    if error.sqlstate == _REFUSED:
        # Not str(error): that has the detail too.
        return str(error.args[0])
    # A token outlives its user: what they would own has nobody to belong to.
    is_orphan = isinstance(error, asyncpg.ForeignKeyViolationError)
    return (
        "unauthorized" if is_orphan and str(error.constraint_name).endswith("_owner_fkey") else None
    )


async def _keep(_connection: Any) -> None:
    """No reset: see `reset=`."""


async def _roll_back(connection: Any) -> None:
    try:
        async with asyncio.timeout(2):
            await connection.execute("rollback")
    except (*_AWAY, asyncpg.PostgresError):
        # In doubt it is thrown away; the pool opens another.
        connection.terminate()
