"""The official CloudEvents SDK delivers runs to a real runner."""

import asyncio
from pathlib import Path

from local.gateway import find_deno
from tests.doubles import ModelServer, says
from tests.fixtures.conversations import leave_waiting
from tests.fixtures.database import TestDatabase
from tests.fixtures.functions import Served, run_input
from tests.fixtures.processes import started

CLIENT = Path(__file__).parent / "clients" / "cloudevents.ts"


async def deliver(url: str, *run_ids: str) -> list[str]:
    """Have the SDK post an event in binary mode, then one in structured mode. Returns the answers' statuses."""
    process = await asyncio.create_subprocess_exec(
        find_deno(),
        *("run", "--no-lock", "--quiet", "--allow-all", str(CLIENT), url, *run_ids),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        output, trouble = await process.communicate()
    assert process.returncode == 0, trouble.decode()
    return output.decode().split()


async def test_the_official_sdk_delivers_runs_in_both_modes(
    agent: Served, model: ModelServer, database: TestDatabase
) -> None:
    person = await agent.person()
    run_ids = [
        await leave_waiting(agent, person, run_input("hi", run=name, thread=name))
        for name in ("binary", "structured")
    ]
    model.will(says("one"), says("two"))

    async with started("runner", database, model) as runner:
        statuses = await deliver(runner.base + "/", *run_ids)

    # 204 comes once the run an event names has ended.
    assert statuses == ["204", "204"]
    for name in ("binary", "structured"):
        assert (await person.request("GET", f"/runs/{name}")).json()["status"] == "completed"
