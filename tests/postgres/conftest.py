"""Fixtures of the tests of the log's rules: a function's database, and a user who exists."""

from collections.abc import AsyncIterator

import pytest

from shared.core.json import Json
from shared.database.pool import Database
from tests.fixtures.database import TestDatabase
from tests.postgres.holders import admit, connected


@pytest.fixture
async def db(database: TestDatabase) -> AsyncIterator[Database]:
    async with connected(database.url, database_connections=16) as connected_:
        yield connected_


@pytest.fixture
async def user(database: TestDatabase) -> Json:
    return await admit(database)
