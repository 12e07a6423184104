"""Calls that fail: clients that disconnect, tools that hang, crash or return too much, and secrets."""

import asyncio
import json
import signal
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from shared.core.json import Json
from tests.fixtures.database import TestDatabase
from tests.fixtures.functions import Person
from tests.fixtures.processes import Process
from tests.fixtures.tool_calls import audited, call, post, result_text
from tests.fixtures.waiting import eventually, until_true


@pytest.fixture
async def person(odd: Process, database: TestDatabase) -> Person:
    return await odd.new_person()


def events(answered: httpx.Response) -> list[Json]:
    assert answered.headers["content-type"].startswith("text/event-stream")
    return [json.loads(line[6:]) for line in answered.text.splitlines() if line[:6] == "data: "]


@pytest.mark.parametrize("meta", [{}, {"progressToken": "p"}], ids=["plain", "stream"])
async def test_a_disconnect_cancels_the_call_which_is_audited_nevertheless(
    person: Person, database: TestDatabase, meta: Json
) -> None:
    calling = asyncio.ensure_future(post(person, "tools/call", {"name": "hang", "_meta": meta}))
    await until_true(database, "exists (select from agent.note where text = 'started')")
    calling.cancel()

    await until_true(database, "exists (select from agent.audit_event where outcome = 'unknown')")
    assert await audited(database) == [("hang", "unknown")]


@pytest.mark.parametrize("odd", [{"log_level": "INFO"}], indirect=True)
async def test_a_disconnect_during_the_audit_does_not_stop_it(
    person: Person, database: TestDatabase, tmp_path: Path
) -> None:
    async def has_left() -> bool:
        return '"status":499' in (tmp_path / "log").read_text()

    async with database.owner() as owner:
        await owner.execute("begin")
        await owner.execute("lock table agent.audit_event in exclusive mode")
        calling = asyncio.ensure_future(call(person, "count"))
        await until_true(database, "exists (select from pg_locks where not granted)")
        calling.cancel()
        await eventually(has_left)
        await owner.execute("rollback")

    await until_true(database, "exists (select from agent.audit_event)")
    assert await audited(database) == [("count", "ok")]


async def test_a_function_that_stops_ends_its_calls(
    odd: Process, person: Person, database: TestDatabase
) -> None:
    calling = asyncio.ensure_future(post(person, "tools/call", {"name": "hang"}))
    await until_true(database, "exists (select from agent.note where text = 'started')")
    await odd.signal(signal.SIGTERM)

    stopped = await calling
    assert (stopped.status_code, stopped.json()["code"]) == (503, "unavailable")
    assert await audited(database) == [("hang", "unknown")]


async def test_a_client_that_requests_progress_gets_it_in_order(person: Person) -> None:
    params = {"name": "count", "_meta": {"progressToken": 7}}
    frames = events(await post(person, "tools/call", params))

    steps = [frame["params"] for frame in frames[:-1]]
    assert [(step["progress"], step["progressToken"], step["message"]) for step in steps] == [
        (1, 7, "step 1"),
        (2, 7, "step 2"),
        (3, 7, "step 3"),
    ]
    assert result_text(frames[-1]["result"]) == "counted"
    plain = await post(person, "tools/call", {"name": "count"})
    assert result_text(plain.json()["result"]) == "counted"
    blind = await post(person, "tools/call", params, accept="application/json")
    assert result_text(blind.json()["result"]) == "counted"


@pytest.mark.parametrize("odd", [{"tool_seconds": 0.2}], indirect=True)
async def test_a_tool_that_takes_too_long_is_stopped(
    person: Person, database: TestDatabase
) -> None:
    looked, hung = await call(person, "look_for_ever"), await call(person, "hang")

    assert looked["isError"]
    assert result_text(looked) == "The tool took too long and was stopped."
    assert "may or may not have had its effect" in result_text(hung)
    assert await audited(database) == [("look_for_ever", "error"), ("hang", "unknown")]


@pytest.mark.parametrize("odd", [{"log_level": "DEBUG"}], indirect=True)
async def test_secrets_are_in_no_answer_log_or_row(
    person: Person, database: TestDatabase, tmp_path: Path
) -> None:
    crashed = await call(person, "crash", text="canary-of-an-argument")
    wrong = await call(person, "crash", text=["canary-of-an-argument"])
    await call(person, "add_note", text="canary-of-a-note")
    listed = await call(person, "search_notes", query="canary-of-a-note")
    token = f"Bearer {person.internal_token()}canary-of-a-token"
    refused = await post(person, "tools/list", authorization=token)

    assert result_text(crashed) == "The tool failed."
    assert "canary-of-a-note" in result_text(listed)
    assert refused.status_code == 401
    async with database.owner() as owner:
        rows = await owner.fetch("select * from agent.audit_event")
    assert len(rows) == 4
    logged = (tmp_path / "log").read_text()
    assert '"tool.crashed"' in logged
    found = [str([dict(row) for row in rows]), logged, refused.text]
    assert "canary" not in json.dumps([*found, crashed, wrong])


async def test_a_tool_has_the_settings_it_declared_and_needs(person: Person) -> None:
    assert result_text(await call(person, "lent")) == (
        "This tool is not set up here: OPENAI_API_KEY is not set."
    )


@pytest.mark.parametrize("odd", [{"openai_api_key": "k"}], indirect=True)
async def test_a_tool_has_no_settings_it_did_not_declare(person: Person) -> None:
    assert result_text(await call(person, "lent")) == "openai_api_key"


async def test_a_tool_without_its_secret_names_the_setting(person: Person) -> None:
    assert result_text(await call(person, "look_up_customer")) == (
        "This tool is not set up here: TOOL_SECRET_CRM_KEY is not set."
    )


@pytest.mark.parametrize("odd", [{"tool_secrets": {"CRM_KEY": "12345"}}], indirect=True)
async def test_a_custom_tool_gets_its_secret(person: Person) -> None:
    assert result_text(await call(person, "look_up_customer")) == "5 characters"


async def test_a_tool_for_a_role_is_hidden_from_other_users(
    odd: Process, person: Person, database: TestDatabase
) -> None:
    admin = await odd.new_person(app_metadata={"role": "admin"})
    listed = (await post(person, "tools/list")).json()["result"]["tools"]
    run = {"authorization": f"Bearer {person.internal_token(str(uuid4()))}"}
    in_a_run = await post(person, "tools/call", {"name": "rule"}, **run)

    assert "rule" not in [tool["name"] for tool in listed]
    assert result_text(await call(admin, "rule")) == "done"
    assert result_text(await call(person, "rule")) == "This tool is for the role admin only."
    assert in_a_run.json()["result"]["isError"]
    denied = ("rule", "denied")
    assert await audited(database) == [denied, ("rule", "ok"), denied], "denials of runs too"


async def test_a_result_that_no_client_can_read_is_an_error(person: Person) -> None:
    flooded = await call(person, "flood")

    assert flooded["isError"]
    assert result_text(flooded) == "The result is too large. Ask for less."


async def test_an_unreadable_call_is_refused_and_a_call_of_an_unknown_tool_is_audited(
    person: Person, database: TestDatabase
) -> None:
    nested: Any = "x"
    for _ in range(400):
        nested = [nested]
    deep = await post(person, "tools/call", {"name": "count", "arguments": {"a": nested}})
    unknown = await post(person, "tools/call", {"name": "gone", "arguments": {"a": 1}})
    lost = await post(person, "tools/list", host="[::1")

    assert (deep.status_code, deep.json()["error"]["code"]) == (400, -32600)
    assert unknown.json()["error"]["code"] == -32602
    assert (lost.status_code, lost.json()["code"]) == (403, "forbidden")
    assert await audited(database) == [("gone", "error")]


async def test_a_lost_audit_of_a_call_is_logged(
    person: Person, database: TestDatabase, tmp_path: Path
) -> None:
    async with database.owner() as owner:
        await owner.execute("drop function agent.audit_call")

    counted = await call(person, "count")

    assert result_text(counted) == "counted"
    assert '"audit.lost"' in (tmp_path / "log").read_text()
