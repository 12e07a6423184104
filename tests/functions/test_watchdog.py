"""A tool that blocks the event loop is named in the log; without a run, nothing watches."""

import asyncio
import json
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from shared.http.watchdog import LoopWatchdog
from tests.doubles import ModelServer, calls, chunk, says
from tests.fixtures.checkout import checked_out
from tests.fixtures.database import TestDatabase
from tests.fixtures.functions import Served, run_input
from tests.fixtures.waiting import eventually

_BLOCKING = """
import time
from shared.agents import Agent, tool
from shared.http import agent_app

@tool
async def wait_here(seconds: float) -> str:
    \"\"\"Wait.\"\"\"
    time.sleep(seconds)
    return "done"

agent = Agent(instructions="", tools=[wait_here], approval={"*": "never"})
app = agent_app("support", agent)
"""


def watchdogs() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "loop watchdog"]


async def test_a_tool_that_blocks_the_loop_is_named_with_its_agent_and_line(
    database: TestDatabase, model: ModelServer, tmp_path: Path
) -> None:
    revision = checked_out(tmp_path, database, model)
    revision.write_agent("support", _BLOCKING)
    # The short wait is below the limit.
    waits = [("a", "wait_here", '{"seconds": 0.5}')], [("b", "wait_here", '{"seconds": 1.5}')]
    model.will(*(calls(*wait) for wait in waits), says("done"))
    async with revision.started("support", lease_seconds=10.0) as support:
        person = replace(await support.new_person(), function="support")
        await person.run(run_input("go"))

        async def is_logged() -> bool:
            return bool(revision.log_lines("loop.blocked"))

        await eventually(is_logged)
    [line] = map(json.loads, revision.log_lines("loop.blocked"))
    assert line["agent"] == "support"
    assert 1.0 <= line["seconds"] < 1.5 + 1
    blocked = _BLOCKING.splitlines().index("    time.sleep(seconds)") + 1
    assert line["at"].endswith(f"functions/support/app.py:{blocked}")


async def test_the_watchdog_starts_with_the_first_run_and_sleeps_without_one(
    agent: Served, model: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[LoopWatchdog] = []
    monkeypatch.setattr("shared.http.watchdog._PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(LoopWatchdog, "_look", lambda watchdog: looks.append(watchdog))
    person = await agent.person()
    # Those of earlier tests end.
    await eventually(lambda: asyncio.sleep(0, not watchdogs()))
    proceed = asyncio.Event()
    model.will([chunk({"content": "a"}), proceed, *says("b")])
    async with person.stream("POST", "/runs", run_input("hi")) as frames:
        await frames.until("TEXT_MESSAGE_CONTENT")
        await eventually(lambda: asyncio.sleep(0, len(looks) >= 3))
        assert len(watchdogs()) == 1
        proceed.set()
        await frames.rest()
    # The look that was in progress ends.
    await asyncio.sleep(0.2)
    count = len(looks)
    await asyncio.sleep(0.5)
    assert len(looks) == count
