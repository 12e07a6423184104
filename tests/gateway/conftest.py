"""The gateway on each Deno, in front of a function that records."""

import subprocess
from collections.abc import AsyncIterator

import pytest

from tests.gateway.door import GATEWAY, current_deno, edge_deno, running
from tests.gateway.upstream import Upstream, upstream


@pytest.fixture(scope="session", params=["current", "edge"])
def deno(request: pytest.FixtureRequest) -> str:
    # The current Deno fetches the dependencies of both: the old one does not know every certificate.
    entry = str(GATEWAY / "index.ts")
    command = [
        current_deno(),
        "cache",
        "-q",
        "--no-lock",
        "--config",
        str(GATEWAY / "deno.json"),
        entry,
    ]
    subprocess.run(command, check=True, timeout=120)
    return current_deno() if request.param == "current" else edge_deno()


@pytest.fixture
async def function() -> AsyncIterator[Upstream]:
    async with upstream() as function:
        yield function


@pytest.fixture
async def door(deno: str, function: Upstream) -> AsyncIterator[int]:
    own = f"http://127.0.0.1:{function.port}"
    async with running(deno, FASTAPI_ORIGIN_URL_ASSISTANT=own, MAX_BODY_BYTES="100000") as port:
        yield port
