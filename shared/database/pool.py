"""The only ways to Postgres: call a function of schema `agent`, or open a session that acts as a user.

Every wait has a limit, and a connection returns to the pool clean or is closed; tests/postgres/test_database.py has a
test for each way in which that could fail.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from functools import cached_property
from time import monotonic
from typing import TYPE_CHECKING, Any

import asyncpg
import orjson

from shared.core import DatabaseSettings, InvalidSettings, Once, Unavailable, logger, to_the_end
from shared.database.address import Address, read_address
from shared.database.refusals import refusal_of
from shared.database.sessions import Sessions
from shared.database.statements import call_of, session_of, to_driver

if TYPE_CHECKING:
    from shared.database.sessions import Connection

    Pool = asyncpg.Pool[asyncpg.Record]

_READY_SECONDS = 2.0
#: How long a stopping process waits for a Postgres that does not answer.
_CLOSE_SECONDS = 1.0
_REFUSAL_STATE = "AF001"
_LACKS_SCHEMA = "select to_regnamespace('agent') is null"
_NO_SCHEMA = (
    "The database of SUPABASE_DATABASE_URL has no schema agent: apply the migrations (docs/deploy.md, step 1), or set"
    " the address of the database that has it."
)

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
        self._lacks_schema = False
        self._url = settings.supabase_database_url
        self._connections = settings.database_connections
        self._sessions = Sessions()
        #: Opens the pool with the first use, without a connection.
        self._open: Once[Pool] = Once(self._open_pool)

    @cached_property
    def _address(self) -> Address:
        return read_address(self._url)

    async def connect(self) -> None:
        """Check the address and the login. A Postgres that is away is only logged; `is_ready` reports it.

        Raises:
            InvalidSettings: the address cannot be used; Postgres refuses the login; the login bypasses row-level
                security, and the settings do not allow that; or the database lacks schema `agent`.
        """
        if ignored := self._address.ignored:
            logger.info("database.parameters_ignored", extra={"names": list(ignored)})
        if await self.is_ready():
            return
        if self._lacks_schema:
            raise InvalidSettings(_NO_SCHEMA)
        logger.warning("database.away")

    async def close(self) -> None:
        if not await self._open.settled():
            return
        pool = await self._open()
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await pool.close()
        except TimeoutError:
            pool.terminate()

    async def _open_pool(self) -> "Pool":
        address = self._address
        return await asyncpg.create_pool(
            **address.place,
            min_size=0,
            max_size=self._connections,
            timeout=min(address.connect_seconds or self._seconds, self._seconds),
            command_timeout=self._seconds,
            max_inactive_connection_lifetime=45.0,
            # A transaction pooler may send each statement to another server, which has not prepared it.
            statement_cache_size=256 if address.prepares else 0,
            # Every setting is local to its transaction, so nothing needs a reset, which would double the round trips.
            reset=_keep,
            init=self._check_login,
        )

    async def call(self, function: str, *arguments: Any) -> Any:
        """Call `agent.<function>`: one statement, one round trip. Returns its value, JSON decoded.

        Raises:
            Refused: the function raised a code.
            Unavailable: Postgres cannot be reached in time.
        """
        async with self.connection() as connection:
            value = await connection.fetchval(
                f"select {call_of(function, arguments)}", *to_driver(arguments)
            )
        return orjson.loads(value) if isinstance(value, str) and value[:1] in "{[" else value

    async def rows(self, function: str, *arguments: Any) -> list[Mapping[str, Any]]:
        """Call `agent.<function>` for its rows; raises as `call` does."""
        sql = "select * from " + call_of(function, arguments)  # noqa: S608  # the name is checked
        async with self.connection() as connection:
            rows = await connection.fetch(sql, *to_driver(arguments))
        return list(rows)

    @asynccontextmanager
    async def session(self, claims: Mapping[str, object]) -> AsyncIterator["Connection"]:
        """A transaction that acts as the user of verified claims, committed at the end: for bulk work with own SQL.

        It yields a connection of `databases`, which the first session imports. It belongs to no task: child tasks and
        generators inside the session share it, one query at a time.

        Raises:
            Unavailable: Postgres cannot be reached in time.
        """
        async with self.connection() as connection:
            try:
                # Before the transaction begins: the first session imports a library.
                own = await self._sessions.over(connection)
                await connection.execute(session_of(claims, self._seconds))
                yield own
                await connection.execute("commit")
            except BaseException:
                await to_the_end(_roll_back(connection))
                raise

    async def is_ready(self) -> bool:
        """Whether Postgres answered in the last two seconds, and has schema `agent`.

        Its first connection is also that of the first call.
        """
        if monotonic() < self._ready_until:
            return True
        try:
            async with self.connection() as connection:
                self._lacks_schema = await connection.fetchval(_LACKS_SCHEMA)
        except Unavailable:
            return False
        if not self._lacks_schema:
            self._ready_until = monotonic() + _READY_SECONDS
        return not self._lacks_schema

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        """A connection of asyncpg, for this package. It acts as nobody: the login itself may read no row."""
        pool = await self._open()
        with self._translate_errors():
            connection = await self._acquire(pool)
            try:
                yield connection
            finally:
                # It ends even if this task is cancelled meanwhile.
                await pool.release(connection)

    async def _acquire(self, pool: "Pool") -> Any:
        try:
            async with asyncio.timeout(self._seconds):
                return await pool.acquire()
        except (asyncpg.ClientConfigurationError, asyncpg.PostgresError) as error:
            if refusal := refusal_of(getattr(error, "sqlstate", None), str(error)):
                raise refusal from None
            raise

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
