"""Users of a bundle on a cluster."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

import httpx

from tests.cluster.bundle import Bundle
from tests.fixtures.functions import Person


class Meet(Protocol):
    """Makes a new user known, who asks a function."""

    async def __call__(self, function: str = "agent") -> Person: ...


@asynccontextmanager
async def meeting(bundle: Bundle) -> AsyncIterator[Meet]:
    """Meet users, until the block ends."""
    clients: list[httpx.AsyncClient] = []

    async def meet(function: str = "agent") -> Person:
        base, headers = await asyncio.to_thread(bundle.address, function)
        # A start from zero is in it, on a machine that may be slow.
        client = httpx.AsyncClient(headers=headers, timeout=httpx.Timeout(10, read=120))
        clients.append(client)
        person = Person(client, base, function=function)
        await asyncio.to_thread(bundle.sql, f"insert into auth.users (id) values ('{person.sub}')")
        return person

    yield meet
    for client in clients:
        await client.aclose()
