"""Connects to a database by its address, as people copy it from Supabase and from other tools."""

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


def _reason(error: Exception) -> str:
    is_ours = isinstance(error, asyncpg.PostgresError | asyncpg.ClientConfigurationError)
    if is_ours and (refusal := refusal_of(getattr(error, "sqlstate", None), str(error))):
        return str(refusal)
    sentence = why_unreachable(error)
    return f"{sentence[0].upper()}{sentence[1:]}."
