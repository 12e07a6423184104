"""A platform with nothing on it yet, and a client."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.platform.small import command
from tests.platform.stand_in import Platform


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[Platform]:
    async with asyncio.timeout(30), Platform(tmp_path, command) as platform:
        yield platform


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=20) as client:
        yield client
