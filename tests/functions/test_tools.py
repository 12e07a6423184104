"""The function `tools`: an MCP server whose tools act only as the user for whom a call is made."""

import json
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from shared.core.json import Json
from tests.doubles import ModelServer
from tests.fixtures.database import TestDatabase
from tests.fixtures.functions import Person
from tests.fixtures.processes import Process, started
from tests.fixtures.tool_calls import META, call, post

ROOT = Path(__file__).parents[2]


@pytest.fixture
async def tools(database: TestDatabase, model: ModelServer) -> AsyncIterator[Process]:
    async with started("tools", database, model, mock_weather_tool_api_key="canary-key") as process:
        yield process


@pytest.fixture
async def person(tools: Process, database: TestDatabase) -> Person:
    return await tools.new_person()


@asynccontextmanager
async def client(person: Person) -> AsyncIterator[Client]:
    """The official client, of the current protocol version."""
    headers = {"authorization": f"Bearer {person.internal_token()}"}
    async with (
        httpx2.AsyncClient(headers=headers) as http,
        Client(streamable_http_client(f"{person.base}/mcp", http_client=http)) as connected,
    ):
        yield connected


async def test_the_official_client_lists_and_calls(person: Person) -> None:
    async with client(person) as connected:
        listed = await connected.list_tools()
        computed = await connected.call_tool("calculator", {"expression": "2 * (3 + 4)"})

    names = [tool.name for tool in listed.tools]
    assert names == [
        *("add_note", "calculator", "delete_note"),
        *("get_weather", "list_notes", "search_notes"),
    ], "in a fixed order, and without what is for admins"
    assert computed.structured_content == {"value": "14", "exact": True}
    assert not computed.is_error


async def test_an_older_client_opens_a_session_that_the_server_does_not_store(
    person: Person,
) -> None:
    auth = {"authorization": f"Bearer {person.internal_token()}"}

    async def say(id_: int | None, method: str, **params: Any) -> httpx.Response:
        body = {"jsonrpc": "2.0", "method": method, "params": params}
        numbered = {**body, "id": id_} if id_ else body
        return await person.client.post(person.base + "/mcp", json=numbered, headers=auth)

    hello = await say(1, "initialize", protocolVersion="2025-06-18", capabilities={})
    assert hello.json()["result"]["protocolVersion"] == "2025-06-18"
    assert "mcp-session-id" not in hello.headers
    noted = await say(None, "notifications/initialized")
    assert (noted.status_code, noted.content) == (202, b"")
    answered = await say(2, "tools/call", name="calculator", arguments={"expression": "1/4"})
    assert answered.json()["result"]["structuredContent"]["value"] == "0.25"
    assert "resultType" not in answered.json()["result"]
    unknown = await say(3, "tools/dance")
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (200, -32601)


@pytest.mark.parametrize(
    ("method", "params", "headers", "status", "code"),
    [
        ("tools/dance", {}, {}, 404, -32601),
        ("tools/call", {"name": "gone"}, {}, 200, -32602),
        ("tools/call", {"name": "calculator", "arguments": []}, {}, 200, -32602),
        ("tools/list", {}, {"mcp_method": "tools/call"}, 400, -32020),
        ("tools/call", {"name": "calculator"}, {"mcp_name": "add_note"}, 400, -32020),
        ("tools/list", {}, {"mcp_protocol_version": "2025-11-25"}, 400, -32020),
        ("tools/list", {"_meta": {next(iter(META)): "2099-01-01"}}, {}, 400, -32020),
    ],
)
async def test_errors_are_those_of_the_specification(
    person: Person, method: str, params: Json, headers: Any, status: int, code: int
) -> None:
    answered = await post(person, method, params, **headers)

    assert (answered.status_code, answered.json()["error"]["code"]) == (status, code)


async def test_only_callers_with_a_token_for_this_function_are_accepted(
    tools: Process, person: Person
) -> None:
    for authorization in ("", "Bearer x", f"Bearer {person.token()}"):
        refused = await post(person, "tools/list", authorization=authorization)
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"].startswith("Bearer")
    for headers in ({"origin": "http://evil.example"}, {"host": "evil.example"}):
        assert (await post(person, "tools/list", **headers)).status_code == 403
    assert (await tools.client.get(tools.base + "/mcp")).status_code == 405


async def test_notes_belong_to_their_owner_and_are_written_once(
    tools: Process, person: Person, database: TestDatabase
) -> None:
    other = await tools.new_person()

    first = await call(person, "add_note", key="call-1", text="buy green tea")
    again = await call(person, "add_note", key="call-1", text="buy green tea")
    await call(person, "add_note", text="call the plumber")

    assert first["structuredContent"] == again["structuredContent"]
    found = await call(person, "search_notes", query="tea green")
    assert [note["text"] for note in found["structuredContent"]["notes"]] == ["buy green tea"]
    page = (await call(person, "list_notes", limit=1))["structuredContent"]["notes"]
    older = await call(person, "list_notes", before=page[0]["id"])
    assert [n["text"] for n in older["structuredContent"]["notes"]] == ["buy green tea"]

    assert (await call(other, "list_notes"))["structuredContent"]["notes"] == []
    foreign = await call(other, "delete_note", id=page[0]["id"])
    assert not foreign["structuredContent"]["deleted"]
    assert (await call(person, "delete_note", id=page[0]["id"]))["structuredContent"]["deleted"]


async def test_only_admins_see_and_call_diagnostics(
    tools: Process, person: Person, database: TestDatabase
) -> None:
    admin = await tools.new_person(app_metadata={"role": "admin"})
    pretender = await tools.new_person(user_metadata={"role": "admin"})

    result = await call(admin, "admin_diagnostics")
    assert result["structuredContent"]["expired_leases"] == 0
    for someone in (person, pretender):
        denied = await call(someone, "admin_diagnostics")
        assert denied["isError"]
        assert denied["_meta"]["agent-functions/outcome"] == "denied"
    async with client(admin) as connected:
        assert "admin_diagnostics" in [t.name for t in (await connected.list_tools()).tools]
    async with database.owner() as owner:
        rows = await owner.fetch("select outcome, subject from agent.audit_event order by id")
    assert [tuple(row) for row in rows] == [
        ("ok", "admin_diagnostics"),
        ("denied", "admin_diagnostics"),
        ("denied", "admin_diagnostics"),
    ]


async def test_errors_of_arguments_name_the_fault_and_not_the_values(person: Person) -> None:
    result = await call(person, "calculator", expression=5, also="this")
    assert result["isError"]
    assert "expression: Input should be a valid string" in result["content"][0]["text"]
    assert "9**9**9" not in json.dumps(result)

    huge = await call(person, "calculator", expression="9**9**9")
    assert huge["content"][0]["text"] == "The result is too large."


async def test_the_mock_weather_is_always_the_same_and_never_shows_its_key(person: Person) -> None:
    first = await call(person, "get_weather", location="Berlin")
    second = await call(person, "get_weather", location=" berlin ", unit="fahrenheit")

    celsius = first["structuredContent"]
    assert celsius["source"] == "mock"
    assert second["structuredContent"]["temperature"] == celsius["temperature"] * 9 / 5 + 32
    assert "canary" not in json.dumps([first, second])


async def test_a_call_of_a_run_is_audited_by_its_log_alone(
    person: Person, database: TestDatabase
) -> None:
    token = person.internal_token(str(uuid4()))

    await post(
        person,
        "tools/call",
        {"name": "calculator", "arguments": {"expression": "1"}},
        authorization=f"Bearer {token}",
    )

    async with database.owner() as owner:
        assert not await owner.fetchval("select count(*) from agent.audit_event")


async def test_the_instructions_for_adding_a_tool_work(
    database: TestDatabase, model: ModelServer, tmp_path: Path
) -> None:
    page = (ROOT / "docs/tools.md").read_text()
    file, code = re.findall(
        r"`functions/tools/(\w+\.py)`:\n\n```python\n(.*?)```", page, re.DOTALL
    )[0]
    for package in ("functions", "shared", "local"):
        shutil.copytree(ROOT / package, tmp_path / package)
    (tmp_path / "functions/tools" / file).write_text(code)

    async with started("tools", database, model, folder=tmp_path) as process:
        someone = await process.new_person()
        answered = await call(someone, "shout", text="hello")

    assert answered["content"] == [{"type": "text", "text": "HELLO!"}]
