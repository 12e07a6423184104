"""Connects to a database by its address, as people copy it from Supabase and from other tools."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeAlias

import asyncpg

from local import CannotStart
from shared.core import InvalidSettings
from shared.database import read_address, refusal_of, why_unreachable

_SECONDS = 15.0
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


async def connect(url: str) -> Connection:
    """A connection to the database at this address; the caller closes it.

    Raises:
        CannotStart: the address cannot be used, or the database cannot be reached or refuses the login.
    """
    try:
        address = read_address(url)
        size = 100 if address.prepares else 0
        return await asyncpg.connect(
            **address.place,
            statement_cache_size=size,
            timeout=min(address.connect_seconds or _SECONDS, _SECONDS),
        )
    except InvalidSettings as error:
        raise CannotStart(str(error)) from None
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise CannotStart(_reason(error)) from None


@asynccontextmanager
async def connected_as_owner(url: str) -> AsyncIterator[Connection]:
    """A connection for work that only the owner of the schemas may do; closed at the end.

    Raises:
        CannotStart: as of `connect`; or the login may not do this work.
    """
    connection = await connect(url)
    try:
        yield connection
    except asyncpg.InsufficientPrivilegeError as error:
        login = await connection.fetchval("select session_user")
        raise CannotStart(
            f"The login {login} may not do this ({error}): use the login that owns the schemas, in a Supabase"
            " project usually `postgres`."
        ) from None
    finally:
        await connection.close()


def _reason(error: Exception) -> str:
    is_ours = isinstance(error, asyncpg.PostgresError | asyncpg.ClientConfigurationError)
    if is_ours and (refusal := refusal_of(getattr(error, "sqlstate", None), str(error))):
        return str(refusal)
    sentence = why_unreachable(error)
    return f"{sentence[0].upper()}{sentence[1:]}."
