"""The only ways to Postgres: call a function of schema `agent`, or open a session that acts as a user.

The library is `databases`. This module uses its pool and its connection, and nothing that is bound to the calling task:
child tasks of a request share its session, and no query can escape the session's row-level security. docs/decisions.md
lists the traps this avoids; tests/postgres/test_database.py tests each of them.

`databases` imports SQLAlchemy, which is half of all that a small function imports, so it is imported in a thread once
the server listens. Until then, a plain connection tells whether Postgres is there.
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
from shared.database.statements import call_of, session_of, to_driver

_READY_SECONDS = 2.0
#: How long a stopping process waits for a Postgres that does not answer.
_CLOSE_SECONDS = 1.0
_TRANSACTION_POOLER_PORT = 6543
_REFUSAL_STATE = "AF001"

#: Postgres is away, starting, stopping, full, too slow, or read-only: not the caller's fault, and temporary.
_UNAVAILABLE = (
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
    """A function of the schema refused a call, and raised this stable `code`."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.detail = detail


class Database:
    """A pool of connections. Every wait has a limit, and only clean connections return to the pool."""

    def __init__(self, settings: DatabaseSettings) -> None:
        self._seconds = settings.database_seconds
        self._may_bypass = settings.allow_bypassrls_login
        self._is_checked = False
        self._ready_until = 0.0
        self._url = url = settings.supabase_database_url
        # A transaction pooler may send each statement to another server, which has not prepared it.
        self._statement_cache_size = 0 if _port_of(url) == _TRANSACTION_POOLER_PORT else 256
        self._connections = settings.database_connections
        #: Opens the pool with the first use; its library is imported off the event loop.
        self._open: Once[tuple[Any, type]] = Once(self._open_pool)

    async def connect(self) -> None:
        """Check the login. A Postgres that is away is only logged; `is_ready` reports it.

        Raises:
            InvalidSettings: the login bypasses row-level security, and the settings do not allow that.
        """
        if not await self.is_ready():
            logger.warning("database.away")

    async def warm(self) -> None:
        """Open the pool before the first request needs it."""
        await self._open()

    async def close(self) -> None:
        if await self._open.settled():
            pool, _ = await self._open()
            with suppress(TimeoutError):
                async with asyncio.timeout(_CLOSE_SECONDS):
                    await pool.disconnect()

    async def _open_pool(self) -> tuple[Any, type]:
        pool_type, connection_type = await asyncio.to_thread(_import)
        # asyncpg gets the whole URL: `databases` silently drops sslmode and most other options.
        pool = pool_type(
            self._url,
            dsn=self._url,
            min_size=0,
            max_size=self._connections,
            timeout=self._seconds,
            command_timeout=self._seconds,
            max_inactive_connection_lifetime=45.0,
            statement_cache_size=self._statement_cache_size,
            # Every setting is local to its transaction, so nothing needs a reset, which would double the round trips.
            reset=_keep,
            init=self._check_login,
        )
        await pool.connect()
        return pool, connection_type

    async def call(self, function: str, *arguments: Any) -> Any:
        """Call `agent.<function>`: one statement, one round trip. Returns its value, JSON decoded.

        Raises:
            Refused: the function raised a code.
            Unavailable: Postgres cannot be reached in time.
        """
        async with self._connection() as connection:
            value = await connection.fetchval(
                f"select {call_of(function, arguments)}", *to_driver(arguments)
            )
        return orjson.loads(value) if isinstance(value, str) and value[:1] in "{[" else value

    async def rows(self, function: str, *arguments: Any) -> list[Mapping[str, Any]]:
        """Call `agent.<function>` for its rows; raises as `call` does."""
        sql = "select * from " + call_of(function, arguments)  # noqa: S608  # the name is checked
        async with self._connection() as connection:
            rows = await connection.fetch(sql, *to_driver(arguments))
        return list(rows)

    @asynccontextmanager
    async def session(self, claims: Mapping[str, object]) -> AsyncIterator[Any]:
        """A transaction that acts as the user of verified claims, committed at the end; yields an asyncpg connection.

        It belongs to no task: child tasks and generators inside it share it, one query at a time.

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
        """Check that Postgres answers, without a pool."""
        with self._translate_errors():
            async with asyncio.timeout(self._seconds):
                connection = await asyncpg.connect(self._url, statement_cache_size=0)
                try:
                    await self._check_login(connection)
                finally:
                    connection.terminate()

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        pool, connection_type = await self._open()
        # An explicit Connection: the one that `databases` returns is bound to the calling task.
        connection = connection_type(pool, pool._backend)
        with self._translate_errors():
            async with asyncio.timeout(self._seconds):
                await connection.__aenter__()
            try:
                yield connection.raw_connection
            finally:
                await to_the_end(connection.__aexit__())

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        """Raise Refused or Unavailable for what Postgres and the connection raise."""
        try:
            yield
        except _UNAVAILABLE as error:
            self._ready_until = 0.0
            logger.warning("database.unavailable", extra={"error": type(error).__name__})
            raise Unavailable(retry_after=2) from error
        except asyncpg.PostgresError as error:
            if code := _refusal(error):
                raise Refused(code, str(error.detail or "")) from None
            # The detail quotes the row, and logs must hold no content.
            error.detail = None
            raise

    async def _check_login(self, connection: Any) -> None:
        if self._is_checked or self._may_bypass:
            return
        if await connection.fetchval(
            "select rolsuper or rolbypassrls from pg_roles where rolname = session_user"
        ):
            raise InvalidSettings(
                "SUPABASE_DATABASE_URL names a login that bypasses row-level security: use agent_api, or set"
                " ALLOW_BYPASSRLS_LOGIN=1 where a pooler admits no other."
            )
        self._is_checked = True


def _port_of(url: str) -> int | None:
    try:
        return urlsplit(url).port
    except ValueError:
        # The error quotes what may be a part of the password.
        raise InvalidSettings(
            "SUPABASE_DATABASE_URL is not a URL: encode special characters of its password (%2F for /)."
        ) from None


def _import() -> tuple[type, type]:
    from databases import Database as Pool
    from databases.core import Connection

    return Pool, Connection


def _refusal(error: asyncpg.PostgresError) -> str | None:
    """The code of a refusal, if the error is one."""
    if error.sqlstate == _REFUSAL_STATE:
        # Not str(error): that has the detail too.
        return str(error.args[0])
    # A token may outlive its user, whose new rows then violate a foreign key.
    is_orphan = isinstance(error, asyncpg.ForeignKeyViolationError)
    return (
        "unauthorized" if is_orphan and str(error.constraint_name).endswith("_owner_fkey") else None
    )


async def _keep(_connection: Any) -> None:
    """Reset nothing: see `reset=`."""


async def _roll_back(connection: Any) -> None:
    try:
        async with asyncio.timeout(2):
            await connection.execute("rollback")
    except (*_UNAVAILABLE, asyncpg.PostgresError):
        # The connection's state is unknown, so it is closed; the pool opens another.
        connection.terminate()
