"""A Postgres that is unreachable, full, starting or read-only is `unavailable` quickly, and usable once it is back."""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic

import pytest

from local.probe import free_port
from shared.core.errors import Unavailable
from tests.fixtures.database import TestDatabase
from tests.postgres.holders import admit, begin, connected, run_request, superuser


@asynccontextmanager
async def server_with_error(code: str | None) -> AsyncIterator[str]:
    """The url of a server that answers with this SQLSTATE. None: it accepts connections and sends nothing."""
    hold = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        size = struct.unpack("!i", await reader.readexactly(4))[0]
        await reader.readexactly(size - 4)
        if code is None:
            await hold.wait()
        elif size == 8:
            writer.write(b"N")
            await answer(reader, writer)
            return
        else:
            error = f"SFATAL\0VFATAL\0C{code}\0Msent by a test\0\0".encode()
            writer.write(b"E" + struct.pack("!i", len(error) + 4) + error)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield f"postgresql://a:b@127.0.0.1:{server.sockets[0].getsockname()[1]}/x"
    finally:
        hold.set()
        server.close()


@pytest.mark.parametrize(
    ("code", "meaning"),
    [("57P03", "starting up"), ("57P01", "stopping"), ("53300", "too many connections")],
)
async def test_a_server_that_takes_no_connections_is_unavailable(code: str, meaning: str) -> None:
    async with server_with_error(code) as url, connected(url) as db:
        assert not await db.is_ready(), meaning
        with pytest.raises(Unavailable):
            await db.call("log_position", "x")


async def test_a_silent_server_is_unavailable_after_a_limited_wait() -> None:
    began = monotonic()
    async with server_with_error(None) as url, connected(url, database_seconds=0.3) as db:
        with pytest.raises(Unavailable):
            await db.call("log_position", "x")
    assert monotonic() - began < 3


async def test_a_closed_port_is_unavailable_and_no_error_at_start() -> None:
    async with connected(f"postgresql://a:b@127.0.0.1:{free_port()}/x") as db:
        assert not await db.is_ready()
        with pytest.raises(Unavailable) as refused:
            await db.call("log_position", "x")
    assert refused.value.retry_after


async def test_a_server_that_became_read_only_is_unavailable_until_it_is_not(
    database: TestDatabase,
) -> None:
    claims = await admit(database)
    async with superuser(database) as administrator, connected(database.url) as db:
        name = await administrator.fetchval("select current_database()")
        await administrator.execute(f"alter database {name} set default_transaction_read_only = on")
        await _disconnect_others(administrator)
        with pytest.raises(Unavailable):
            await begin(db, claims)

        await administrator.execute("set default_transaction_read_only = off")
        await administrator.execute(f"alter database {name} reset default_transaction_read_only")
        await _disconnect_others(administrator)
        assert (await begin(db, claims))["outcome"] == "leased"


async def test_after_a_restart_the_next_call_works(database: TestDatabase) -> None:
    claims = await admit(database)
    async with superuser(database) as administrator, connected(database.url) as db:
        await begin(db, claims)
        await _disconnect_others(administrator)

        assert (await begin(db, claims, run_request(run="run-2", thread="2")))[
            "outcome"
        ] == "leased"
        assert await db.is_ready()


async def _disconnect_others(administrator: object) -> None:
    await administrator.execute(  # type: ignore[attr-defined]  # an asyncpg connection
        "select pg_terminate_backend(pid, 5000) from pg_stat_activity"
        " where usename = 'agent_api' and datname = current_database()"
    )
    # The end of the other connections is in our sockets' buffers; let the loop read it.
    await asyncio.sleep(0.01)
