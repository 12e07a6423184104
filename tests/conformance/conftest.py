"""A running server with the suite's tools, and the packages that talk to it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.conformance.node import packages
from tests.conformance.samples import USER
from tests.doubles import ModelServer
from tests.fixtures.database import TestDatabase
from tests.fixtures.processes import Process, started


@pytest.fixture(scope="session")
def folder() -> Path:
    return packages()


@pytest.fixture
async def everything(
    folder: Path, database: TestDatabase, model: ModelServer
) -> AsyncIterator[Process]:
    await database.add_user(USER)
    async with started("tools", database, model, module="tests.conformance") as process:
        yield process
