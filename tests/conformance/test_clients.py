"""The official JavaScript clients and MCP's Inspector against a running `tools`."""

import json
from pathlib import Path

import pytest

from tests.conformance.node import HERE, run
from tests.conformance.samples import USER
from tests.fixtures.functions import Person
from tests.fixtures.processes import Process

_INSPECTOR = "@modelcontextprotocol/inspector/clients/launcher/build/index.js"


def token(server: Process) -> str:
    return Person(server.client, server.base, USER, USER).internal_token()


@pytest.mark.parametrize("which", ["sdk", "client", "client-modern"])
async def test_the_javascript_clients_list_and_call_tools_get_progress_and_answer_questions(
    everything: Process, folder: Path, tmp_path: Path, which: str
) -> None:
    arguments = (str(folder), which, f"{everything.base}/mcp", token(everything))
    code, output = await run(str(HERE / "clients.mjs"), *arguments, home=tmp_path)

    assert code == 0, output
    result = json.loads(output)
    assert {"add_note", "calculator", "get_weather"} <= set(result["names"])
    assert result["value"] == "42"
    assert result["refused"] == [True, "Division by zero."]
    assert "Ada" in result["answered"]
    assert result["progress"] == [0, 50, 100]


async def test_the_inspector_lists_and_calls_and_finds_no_fault_in_schemas(
    everything: Process, tmp_path: Path
) -> None:
    header = ("--header", f"Authorization: Bearer {token(everything)}")
    common = ("--cli", f"{everything.base}/mcp", "--transport", "http", *header)

    code, listed = await run(
        _INSPECTOR, *common, "--method", "tools/list", "--strict", home=tmp_path
    )
    assert code == 0, listed
    tools = {tool["name"]: tool for tool in json.loads(listed)["tools"]}
    assert tools["delete_note"]["annotations"]["destructiveHint"] is True

    call = ("--method", "tools/call", "--tool-name", "calculator")
    expression = ("--tool-arg", "expression=2^10")
    code, called = await run(_INSPECTOR, *common, *call, *expression, home=tmp_path)
    assert (code, json.loads(called)["structuredContent"]["value"]) == (0, "1024"), called
