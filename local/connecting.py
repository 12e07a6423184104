"""Connects to a database by its address, as people copy it from Supabase and from other tools."""

from typing import TypeAlias

import asyncpg

from local import CannotStart
from shared.core import InvalidSettings
from shared.database import read_address

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


async def connect(url: str) -> Connection:
    """A connection to the database at this address; the caller closes it.

    Raises:
        CannotStart: the address cannot be used, or the database cannot be reached or refuses the login.
    """
    try:
        address = read_address(url)
        size = 100 if address.prepares else 0
        return await asyncpg.connect(**address.place, statement_cache_size=size)
    except InvalidSettings as error:
        raise CannotStart(str(error)) from None
    except asyncpg.PostgresError as error:
        raise CannotStart(f"Postgres refuses the connection: {error}.") from None
    except (OSError, asyncpg.InterfaceError) as error:
        raise CannotStart(f"Postgres cannot be reached ({type(error).__name__}).") from None
