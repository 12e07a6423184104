"""Users of a bundle on a cluster."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

import httpx

from tests.cluster.bundle import ClusterBundle
from tests.fixtures.functions import Person


class NewPerson(Protocol):
    """Adds a user. Returns a client of a function that acts as them."""

    async def __call__(self, function: str = "assistant") -> Person: ...


@asynccontextmanager
async def people_of(bundle: ClusterBundle) -> AsyncIterator[NewPerson]:
    """A function that adds users, until the block ends."""
    clients: list[httpx.AsyncClient] = []

    async def new_person(function: str = "assistant") -> Person:
        base, headers = await asyncio.to_thread(bundle.address, function)
        # A start from zero is in it, on a machine that may be slow.
        client = httpx.AsyncClient(headers=headers, timeout=httpx.Timeout(10, read=120))
        clients.append(client)
        person = Person(client, base, function=function)
        await asyncio.to_thread(bundle.sql, f"insert into auth.users (id) values ('{person.sub}')")
        return person

    yield new_person
    for client in clients:
        await client.aclose()
