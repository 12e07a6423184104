"""Plain functions that block: whom they can stop, what their callers read, and that the process can exit."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from threading import Event
from typing import Any

import pytest

from shared.agents.context import RunContext, ToolUser
from shared.agents.function_tool import FunctionTool, tool
from shared.agents.function_toolbox import FunctionTools
from shared.agents.threads import _PER_NAME, _PER_PROCESS, _PER_USER, threads
from shared.agents.tools import CallRequest, Result
from shared.core.settings import Settings
from shared.database.pool import Database
from tests.fixtures.waiting import eventually


@dataclass
class Blocking:
    """A plain tool that returns when the test lets it, and its calls that have started."""

    proceed: Event = field(default_factory=Event)
    started: list[str] = field(default_factory=list)

    def named(self, name: str) -> FunctionTool:
        def block() -> str:
            self.started.append(name)
            self.proceed.wait()
            return "done"

        return tool(name=name, description="Waits.")(block)


@pytest.fixture
def blocking() -> Iterator[Blocking]:
    blocked = Blocking()
    yield blocked
    blocked.proceed.set()


async def call(made: FunctionTool, user: str, seconds: float = 0.2) -> Any:
    settings = Settings(tool_seconds=seconds)
    run = RunContext(id="run", user=ToolUser({"sub": user}))
    box = await FunctionTools([made], Database(settings), settings).open(run)
    return await box.call(CallRequest(made.name, {}, "call-1"))


async def block(blocked: Blocking, name: str, *users: str) -> None:
    """Let these users' calls of a tool run into their time limit; their threads stay blocked."""
    results = await asyncio.gather(*(call(blocked.named(name), user) for user in users))
    assert {result.status for result in results} == {"unknown"}


@tool
def quick() -> str:
    """Quick."""
    return "quick"


async def test_a_call_that_no_thread_was_free_for_says_that_it_had_no_effect(
    blocking: Blocking,
) -> None:
    await block(blocking, "slow", *["alice"] * _PER_USER)

    outcome = await call(blocking.named("slow"), "alice")

    assert outcome.status == "error"
    assert "was not started" in outcome.content
    assert len(blocking.started) == _PER_USER
    assert not threads()._waiting, "a call that gave up must leave nothing behind"


async def test_blocked_calls_of_one_user_stop_no_other_user(blocking: Blocking) -> None:
    await block(blocking, "slow", *["alice"] * _PER_USER)

    assert await call(quick, "bob", 30) == Result("quick")


async def test_blocked_calls_of_one_tool_stop_no_other_tool(blocking: Blocking) -> None:
    await block(blocking, "slow", *(f"user {nth // _PER_USER}" for nth in range(_PER_NAME)))

    assert "was not started" in (await call(blocking.named("slow"), "alice")).content
    assert await call(quick, "alice", 30) == Result("quick")


async def test_the_threads_of_a_process_are_limited(blocking: Blocking) -> None:
    for name in range(_PER_PROCESS // _PER_USER):
        await block(blocking, f"slow {name}", *[f"user {name}"] * _PER_USER)

    assert "was not started" in (await call(quick, "alice")).content


async def test_a_call_waits_for_a_thread_and_gets_that_of_a_call_that_ended(
    blocking: Blocking,
) -> None:
    slow = blocking.named("slow")
    calls = [asyncio.ensure_future(call(slow, "alice", 30)) for _ in range(_PER_USER + 1)]

    async def all_threads_are_used() -> bool:
        return len(blocking.started) == _PER_USER

    await eventually(all_threads_are_used)
    blocking.proceed.set()

    assert await asyncio.gather(*calls) == [Result("done")] * (_PER_USER + 1)


async def test_an_abandoned_thread_is_logged_with_its_tool(
    blocking: Blocking, caplog: pytest.LogCaptureFixture
) -> None:
    await block(blocking, "slow", "alice")

    assert [(each.message, each.__dict__["tool"]) for each in caplog.records] == [
        ("thread.abandoned", "slow")
    ]


_EXITS = """
import asyncio, time
from functools import partial
from shared.agents.calling import call_function

async def main():
    try:
        await call_function(partial(time.sleep, 3600), name="slow", user="alice", seconds=0.1)
    except TimeoutError:
        print("too long")

asyncio.run(main())
"""


def test_a_process_exits_although_a_plain_function_blocks() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _EXITS], capture_output=True, text=True, timeout=60
    )

    assert (done.returncode, done.stdout) == (0, "too long\n")
