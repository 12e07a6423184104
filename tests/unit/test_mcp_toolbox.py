"""The tools of MCP servers as a run has them: their names, and which of them come first."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from shared.agents.tools import CallRequest, Result
from shared.core.json import Json
from shared.core.settings import Settings
from shared.mcp.faults import ServerFailed
from shared.mcp.servers import Server
from shared.mcp.toolbox import McpToolbox


class FakeClient:
    """A client of a server that answers each call with its tool's name, or fails."""

    def __init__(self, *failures: ServerFailed) -> None:
        self.calls = 0
        self._failures = [*failures]

    async def call_tool(self, params: Json, **_: Any) -> Json:
        self.calls += 1
        if self._failures:
            raise self._failures.pop(0)
        return {"content": [{"type": "text", "text": params["name"]}]}


@asynccontextmanager
async def no_slot(_: str) -> AsyncIterator[None]:
    yield


def toolbox(*lists: tuple[Server, list[str]], client: Any = None) -> McpToolbox:
    client = client or FakeClient()
    tools: Any = [(server, client, [{"name": name} for name in names]) for server, names in lists]
    return McpToolbox(tools, lambda _: {}, no_slot, Settings())


def server(name: str, **more: Any) -> Server:
    return Server(name=name, url="https://mcp.example.com", **more)


async def called(box: McpToolbox, name: str) -> Result:
    result = await box.call(CallRequest(name, {}, "c1"))
    assert isinstance(result, Result)
    return result


async def test_names_of_every_script_and_length_reach_their_tools() -> None:
    names = ["検索", "翻訳", "予約", "look.up", "look/up", "look_up", "x" * 100, "x" * 101]
    box = toolbox((server("a"), names), (server("b"), names))

    assert len(box.tools) == 2 * len(names)
    results = [(await called(box, name)).content for name in box.tools]
    assert sorted(results) == sorted(names * 2)


def test_tools_that_the_operator_chose_come_before_those_of_any_server() -> None:
    box = toolbox(
        (server("large"), ["a", "b", "c"]),
        (server("chosen", tools=frozenset({"e"})), ["d", "e"]),
        (server("tools"), ["f"]),
    )
    assert {name: tool.priority for name, tool in box.tools.items()} == {
        **{"a": 1, "b": 2, "c": 3},
        **{"e": 0, "f": 0},
    }


LOST = ServerFailed("lost", "broke_off", status=502, may_have_run=True)


@pytest.mark.parametrize(
    ("failure", "repeatable", "calls", "status"),
    [
        (LOST, False, 1, "unknown"),
        (LOST, True, 3, "error"),
        (ServerFailed("away", "unreachable"), False, 3, "error"),
        (ServerFailed("no", "refused", code=-32602), True, 1, "error"),
    ],
)
async def test_a_failure_is_a_result_that_says_which(
    failure: ServerFailed,
    repeatable: bool,
    calls: int,
    status: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("shared.mcp.toolbox._RETRY_SECONDS", 0.0)
    client = FakeClient(*[failure] * 3)
    tools = frozenset({"a"}) if repeatable else frozenset()
    box = toolbox((server("s", repeatable=tools), ["a"]), client=client)

    result = await called(box, "a")

    assert (client.calls, result) == (calls, Result(str(failure), status, failure.fault))  # type: ignore[arg-type]
