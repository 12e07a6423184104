"""An agent with tools: those of the function `tools` in a process of its own, and those of foreign servers."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest

from shared.core.json import Json
from tests.doubles import ModelServer, calls, says
from tests.fixtures.conversations import text, types
from tests.fixtures.database import TestDatabase
from tests.fixtures.foreign import foreign
from tests.fixtures.functions import Person, Served, run_input, serve
from tests.fixtures.interrupts import resumes, tool_results
from tests.fixtures.processes import Process, started


@pytest.fixture
async def tools(database: TestDatabase, model: ModelServer) -> AsyncIterator[Process]:
    async with started("tools", database, model, mock_weather_tool_api_key="canary-key") as process:
        yield process


@pytest.fixture
async def agent(
    database: TestDatabase, model: ModelServer, tools: Process
) -> AsyncIterator[Served]:
    async with serve(database, model, tools_url=f"{tools.base}/mcp") as served:
        yield served


def servers(url: str, **more: Any) -> str:
    return json.dumps({"other": {"url": url, "approval": "never", **more}})


async def found(params: Json) -> Json:
    return {"content": [{"type": "text", "text": f"found {params['arguments']}"}]}


async def test_three_calls_of_one_turn_reach_the_tools_as_their_user(
    agent: Served, model: ModelServer, database: TestDatabase
) -> None:
    person = await agent.person()
    model.will(
        calls(
            ("a", "get_weather", '{"location": "Berlin"}'),
            ("b", "calculator", '{"expression": "6*7"}'),
            ("c", "add_note", '{"text": "canary of a note"}'),
        ),
        says("done"),
    )

    seen = await person.run(run_input("go"))

    assert text(seen) == "done"
    assert types(seen).count("TOOL_CALL_RESULT") == 3
    assert any('"value":"42"' in result for result in tool_results(model))
    offered = [tool["function"]["name"] for tool in model.requests[0]["tools"]]
    assert "delete_note" in offered
    assert "admin_diagnostics" not in offered
    async with database.owner() as owner:
        assert str(await owner.fetchval("select owner from agent.note")) == person.sub
        key = await owner.fetchval("select key from agent.note")
        assert await owner.fetchval("select count(*) from agent.item where key = $1", key) == 1
        rows = await owner.fetch("select * from agent.audit_event order by subject")
    assert [row["subject"] for row in rows] == ["add_note", "calculator", "get_weather"]
    assert "canary" not in str([dict(row) for row in rows])


async def test_a_call_of_an_admins_tool_by_another_user_is_an_error_result(
    agent: Served, model: ModelServer, database: TestDatabase
) -> None:
    person = await agent.person()
    model.will(calls(("a", "admin_diagnostics", "{}")), says("sorry"))

    await person.run(run_input("go"))

    assert tool_results(model) == ["There is no tool named 'admin_diagnostics'."]


async def test_an_approval_waits_across_a_restart_of_every_process(
    database: TestDatabase, model: ModelServer
) -> None:
    async with (
        started("tools", database, model) as tools,
        serve(database, model, tools_url=f"{tools.base}/mcp") as agent,
    ):
        person = await agent.person()
        model.will(calls(("a", "add_note", '{"text": "old"}')), says("kept"))
        await person.run(run_input("keep it", run="run-0"))
        async with database.owner() as owner:
            note = await owner.fetchval("select id::text from agent.note")
        model.will(calls(("b", "delete_note", json.dumps({"id": note}))))
        ending = (await person.run(run_input("delete it", run="run-1")))[-1]
        (interrupt,) = ending["outcome"]["interrupts"]
        await tools.signal(signal.SIGKILL)
    async with (
        started("tools", database, model) as tools,
        serve(database, model, tools_url=f"{tools.base}/mcp") as agent,
    ):
        again = Person(agent.client, agent.base, person.sub, person.session_id)
        model.will(says("deleted"))
        assert text(await again.run(resumes(interrupt, {"approved": True}))) == "deleted"

    async with database.owner() as owner:
        assert await owner.fetchval("select count(*) from agent.note") == 0


async def test_a_run_continues_without_the_tools_of_a_server_that_is_down(
    database: TestDatabase, model: ModelServer
) -> None:
    nowhere = servers("http://127.0.0.1:9/mcp")
    async with serve(database, model, mcp_servers=nowhere) as agent:
        person = await agent.person()
        model.will(says("hi"))
        assert text(await person.run(run_input("go"))) == "hi"

    assert "tools" not in model.requests[0]


async def test_a_foreign_server_of_an_older_version_gets_requests_of_that_version(
    database: TestDatabase, model: ModelServer
) -> None:
    async with (
        foreign(found) as (url, received),
        serve(
            database,
            model,
            mcp_servers=servers(url, headers={"authorization": "Bearer ${KEY}"}),
            mcp_secrets={"KEY": "canary-secret"},
        ) as agent,
    ):
        person = await agent.person()
        model.will(calls(("a", "look_up", '{"n": 1}')), says("done"))
        await person.run(run_input("go"))

    assert tool_results(model) == ["found {'n': 1}"]
    assert "bearer canary-secret" in received[-1]["head"]
    assert "canary" not in json.dumps(model.requests)


async def test_annotations_of_a_foreign_server_do_not_replace_approval(
    database: TestDatabase, model: ModelServer
) -> None:
    harmless = {"name": "wipe", "annotations": {"readOnlyHint": True, "destructiveHint": False}}
    async with (
        foreign(found, harmless) as (url, received),
        serve(database, model, mcp_servers=servers(url, approval="ask")) as agent,
    ):
        person = await agent.person()
        model.will(calls(("a", "wipe", "{}")))
        seen = await person.run(run_input("go"))

    assert seen[-1]["outcome"]["type"] == "interrupt"
    assert "tools/call" not in [request["method"] for request in received]


async def test_the_operators_settings_override_those_of_our_own_tools(
    database: TestDatabase, model: ModelServer, tools: Process
) -> None:
    policy = json.dumps({"tools": {"approval": {"calculator": "ask"}, "tools": ["calculator"]}})
    url = f"{tools.base}/mcp"
    async with serve(database, model, tools_url=url, mcp_servers=policy) as agent:
        person = await agent.person()
        model.will(calls(("a", "calculator", '{"expression": "1+1"}')))
        seen = await person.run(run_input("go"))

    assert seen[-1]["outcome"]["type"] == "interrupt"
    offered = [tool["function"]["name"] for tool in model.requests[0]["tools"]]
    assert offered == ["calculator"]


async def test_a_tool_that_hangs_dies_or_returns_too_much_is_a_result(
    database: TestDatabase, model: ModelServer
) -> None:
    async def behave(params: Json) -> Json:
        match params["arguments"]["how"]:
            case "hang":
                await asyncio.sleep(5)
            case "talk":
                return {"content": [{"type": "text", "text": "x" * 3_000_000}]}
            case "flood":
                return {"content": [{"type": "text", "text": "x" * 10_000_000}]}
            case "stop":
                return {"status": 503}
        return {}

    async with (
        foreign(behave) as (url, _),
        serve(database, model, mcp_servers=servers(url), tool_seconds=0.5) as agent,
    ):
        person = await agent.person()
        wanted = [
            (how, "look_up", json.dumps({"how": how}))
            for how in ("hang", "talk", "flood", "die", "stop")
        ]
        model.will(calls(*wanted), says("done"))
        await person.run(run_input("go"))

    by_length = sorted(tool_results(model), key=len)
    assert by_length[0] == "The server's answer is too large."
    assert "did not answer in time" in by_length[1]
    assert "broke off" in by_length[2]
    assert "broke off" in by_length[3], "a proxy that answered may have forwarded the call"
    assert by_length[4].endswith("[cut here: 3000000 characters in all]")


async def test_a_stored_list_of_an_older_servers_tools_is_enough_to_call_them(
    database: TestDatabase, model: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def no_list(*_: object) -> list[Json]:
        return await asyncio.Event().wait()  # type: ignore[return-value]  # it never does

    async with foreign(found) as (url, received):
        for nth in range(2):
            async with serve(database, model, mcp_servers=servers(url)) as agent:
                person = await agent.person()
                if nth:
                    # Only the list that the first process stored is there: the first request to the server is a call.
                    monkeypatch.setattr("shared.mcp.client.Client.list_tools", no_list)
                    received.clear()
                model.will(calls(("a", "look_up", '{"n": 1}')), says("done"))
                await person.run(run_input("go", run=f"run-{nth}"))
                assert tool_results(model) == ["found {'n': 1}"]
    assert "tools/list" not in [request["method"] for request in received]


async def test_the_progress_of_a_shared_tool_is_shown(
    database: TestDatabase, model: ModelServer, odd: Process
) -> None:
    model.will(calls(("a", "count", "{}")), says("done"))
    async with serve(database, model, tools_url=f"{odd.base}/mcp") as agent:
        seen = await (await agent.person()).run(run_input("go"))

    reports = [frame["content"] for frame in seen if frame["type"] == "ACTIVITY_SNAPSHOT"]
    (result,) = [frame for frame in seen if frame["type"] == "TOOL_CALL_RESULT"]
    assert reports
    assert reports[0] == {
        "toolCallId": result["toolCallId"],
        "done": 1,
        "total": 3,
        "message": "step 1",
    }
    assert types(seen).index("ACTIVITY_SNAPSHOT") < types(seen).index("TOOL_CALL_RESULT")


async def test_the_log_tells_apart_what_is_wrong_with_a_server(
    database: TestDatabase, model: ModelServer, capsys: pytest.CaptureFixture[str]
) -> None:
    async def refuse(params: Json) -> Json:
        return {"status": 401}

    configured = {"gone": {"url": "http://127.0.0.1:9/mcp"}}
    async with foreign(refuse) as (url, _):
        configured["other"] = {"url": url, "approval": "never"}
        async with serve(database, model, mcp_servers=json.dumps(configured)) as agent:
            model.will(calls(("a", "look_up", "{}")), says("done"))
            await (await agent.person()).run(run_input("go"))

    assert tool_results(model) == ["The tool's server did not accept our credentials (401)."]
    written = map(json.loads, capsys.readouterr().out.splitlines())
    lines = {line["event"]: line for line in written}
    listed, called = lines["tools.not_listed"], lines["tool.failed"]
    assert (listed["server"], listed["fault"]) == ("gone", "unreachable")
    assert [called[name] for name in ("server", "tool", "fault", "status")] == [
        *("other", "look.up", "unauthorized", 401)
    ]


@pytest.mark.parametrize(("seconds", "used"), [(0, "new"), (30, "old")])
async def test_a_list_of_tools_is_as_old_as_the_setting_allows(
    database: TestDatabase, model: ModelServer, seconds: float, used: str
) -> None:
    definition = {"name": "old", "inputSchema": {"type": "object"}}
    async with (
        foreign(found, definition) as (url, _),
        serve(database, model, mcp_servers=servers(url), tool_list_fresh_seconds=seconds) as agent,
    ):
        person = await agent.person()
        model.will(says("hello"), says("hello"))
        await person.run(run_input("go", run="run-1"))
        definition["name"] = "new"
        await person.run(run_input("go", run="run-2"))

    assert [tool["function"]["name"] for tool in model.requests[-1]["tools"]] == [used]
