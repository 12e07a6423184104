"""Our client of MCP against servers of the official SDKs as they were before November 2025."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from local.probe import free_port
from shared.mcp.client import Client
from shared.mcp.faults import ServerFailed
from tests.conformance.installing import by_npm, by_pip, installed
from tests.conformance.node import node, packages
from tests.fixtures.waiting import PATIENCE

_HERE = Path(__file__).parent / "older"


@dataclass
class Older:
    """A server of an SDK, which can be started again on its port."""

    sdk: str
    port: int
    process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it, and wait until it listens."""
        await self.stop()
        command, environment = _command(self.sdk, self.port)
        self.process = await asyncio.create_subprocess_exec(
            *command, env={**os.environ, **environment}, stderr=asyncio.subprocess.DEVNULL
        )
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                except OSError:
                    await asyncio.sleep(0.05)
                else:
                    writer.close()
                    return

    async def stop(self) -> None:
        if self.process:
            self.process.kill()
            await self.process.wait()
            self.process = None


def _command(sdk: str, port: int) -> tuple[list[str], dict[str, str]]:
    if sdk == "python":
        folder = installed(_HERE / "requirements.txt", by_pip)
        # Without site-packages, which have today's SDK.
        script = [sys.executable, "-S", str(_HERE / "server.py"), str(port)]
        return script, {"PYTHONPATH": str(folder), "PYTHONWARNINGS": "ignore"}
    folder = installed(_HERE / "package.json", by_npm)
    return [node(packages()), str(_HERE / "server.mjs"), str(folder), str(port)], {}


@pytest.fixture(params=["python", "typescript"])
async def older(request: pytest.FixtureRequest) -> AsyncIterator[Older]:
    server = Older(request.param, free_port())
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@asynccontextmanager
async def client_of(server: Older, path: str = "/mcp") -> AsyncIterator[Client]:
    async with aiohttp.ClientSession() as session:
        yield Client(f"http://127.0.0.1:{server.port}{path}", lambda: session)


async def double(client: Client) -> str:
    called = await client.call_tool({"name": "double", "arguments": {"n": 4}}, {})
    return str(called["content"][0]["text"])


async def test_tools_are_listed_and_called(older: Older) -> None:
    async with client_of(older) as client:
        assert {tool["name"] for tool in await client.list_tools({})} == {"double", "wait"}
        assert await double(client) == "8"


async def test_a_restart_ends_no_tool(older: Older) -> None:
    async with client_of(older) as client:
        assert await double(client) == "8"
        await older.start()
        assert await double(client) == "8"


async def test_the_model_reads_what_is_wrong_with_its_arguments(older: Older) -> None:
    async with client_of(older) as client:
        try:
            wrong = await client.call_tool({"name": "double", "arguments": {"n": "x"}}, {})
            words = str(wrong["content"])
        except ServerFailed as failed:
            words = str(failed)
    assert "integer" in words or "Expected number" in words


@pytest.mark.parametrize("older", ["python"], indirect=True)
async def test_its_redirect_of_an_address_with_a_slash_is_followed(older: Older) -> None:
    async with client_of(older, "/mcp/") as client:
        assert await double(client) == "8"
