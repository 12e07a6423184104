"""Processes that several test files start."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from local.environment import ROOT
from tests.doubles import ModelServer
from tests.fixtures.database import TestDatabase
from tests.fixtures.processes import Process, started

#: The key of the weather tool, which must appear in no log, result or row.
CANARY = "canary-of-a-key"


@pytest.fixture
async def odd(
    database: TestDatabase,
    model: ModelServer,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> AsyncIterator[Process]:
    """A `tools` that also has the tools of `odd_tools.py`; `request.param` has further settings."""
    for package in ("functions", "shared"):
        shutil.copytree(ROOT / package, tmp_path / package)
    shutil.copy(ROOT / "tests/fixtures/odd_tools.py", tmp_path / "functions/tools/odd_tools.py")
    more = {"openai_api_key": "", "tool_seconds": 20.0, **getattr(request, "param", {})}
    with (tmp_path / "log").open("wb") as log:
        async with started(
            *("tools", database, model, tmp_path),
            output=log,
            mock_weather_tool_api_key=CANARY,
            **more,
        ) as process:
            yield process
