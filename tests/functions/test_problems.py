"""Errors before a stream are problems with a stable code; callers without proof of identity are refused."""

import json
import logging
from dataclasses import replace
from logging.handlers import QueueHandler
from queue import SimpleQueue
from typing import Any

import pytest

from shared.core import log
from shared.core.json import Json
from tests.doubles import ModelServer, says
from tests.fixtures.database import TestDatabase
from tests.fixtures.functions import Served, run_input, serve


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({}, "threadId"),
        ({**run_input("x"), "runId": ""}, "runId"),
        ({**run_input("x"), "runId": 7}, "runId"),
        ({**run_input("x"), "messages": [{"role": "user", "content": "x"}]}, "messages.0.id"),
        ({**run_input("x"), "messages": [{"id": "a", "role": "user"}]}, "messages.0"),
        (
            {**run_input("x"), "messages": [{"id": "a", "role": "tool", "content": "x"}]},
            "messages.0",
        ),
        ({**run_input("x"), "messages": run_input("x")["messages"] * 2}, ""),
        (
            {**run_input("x"), "forwardedProps": {"busyPolicy": "shrug"}},
            "forwardedProps.busyPolicy",
        ),
    ],
)
async def test_an_invalid_body_is_refused_with_the_place_of_the_error(
    agent: Served, body: Json, where: str
) -> None:
    person = await agent.person()

    refused = await person.request("POST", "/runs", body)

    problem = refused.json()
    assert (refused.status_code, problem["code"]) == (422, "invalid_request")
    assert refused.headers["content-type"] == "application/problem+json"
    assert where in [error["at"] for error in problem["errors"]]
    assert problem["request_id"]


@pytest.mark.parametrize("body", [b"", b"{", b"[" * 100_000, b'{"a": NaN}', b"\xff\xfe", b"[]"])
async def test_a_body_that_is_not_json_is_refused(agent: Served, body: bytes) -> None:
    person = await agent.person()

    refused = await agent.client.post(
        f"{agent.base}/runs", content=body, headers=person.headers("POST", "/runs")
    )

    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_request")


async def test_a_body_over_the_limit_is_refused(database: TestDatabase, model: ModelServer) -> None:
    async with serve(database, model, max_body_bytes=1000) as agent:
        person = await agent.person()

        refused = await person.request("POST", "/runs", run_input("x" * 1000))

    assert (refused.status_code, refused.json()["code"]) == (413, "body_too_large")


async def test_a_caller_without_proof_is_refused_before_the_body_is_read(
    agent: Served,
) -> None:
    person = await agent.person()
    whole = person.headers("POST", "/runs")

    for missing in whole:
        headers = {name: value for name, value in whole.items() if name != missing}
        refused = await agent.client.post(f"{agent.base}/runs", content=b"{", headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (401, "unauthorized"), missing


async def test_the_log_says_why_a_caller_is_refused_and_the_response_does_not(
    database: TestDatabase, model: ModelServer
) -> None:
    lines: SimpleQueue[Any] = SimpleQueue()
    handler = QueueHandler(lines)
    async with serve(database, model, log_level="INFO") as served:
        person = await served.person()
        logging.getLogger("agent_functions").addHandler(handler)
        try:
            for headers in ({}, {"authorization": f"Bearer a.{'b' * 9000}.c"}):
                await served.client.get(f"{served.base}/runs/run-1", headers=headers)
            stolen = person.headers("GET", "/runs/another")
            stolen_answer = await served.client.get(f"{served.base}/runs/run-1", headers=stolen)
        finally:
            logging.getLogger("agent_functions").removeHandler(handler)

    logged = [lines.get() for _ in range(lines.qsize())]
    refused = [line for line in logged if line.getMessage() == "request.refused"]
    assert [(line.code, line.reason) for line in refused] == [
        ("unauthorized", "token.missing"),
        ("token_too_large", "token.too_large"),
        ("unauthorized", "assertion.of_another_request"),
    ]
    assert "another" not in stolen_answer.text


async def test_an_assertion_is_valid_only_for_its_method_and_path(agent: Served) -> None:
    person = await agent.person()
    headers = person.headers("GET", "/runs/run-1")

    for method, path in (("GET", "/runs/run-2"), ("POST", "/runs/run-1/cancel")):
        refused = await agent.client.request(method, agent.base + path, headers=headers)
        assert refused.status_code == 401, path


async def test_a_deleted_user_is_refused(agent: Served) -> None:
    person = await agent.person()
    async with agent.database.owner() as owner:
        await owner.execute("delete from auth.users where id = $1", person.sub)

    refused = await person.request("POST", "/runs", run_input("hi"))

    assert (refused.status_code, refused.json()["code"]) == (401, "unauthorized")


async def test_a_crash_is_a_problem_without_details_and_the_connection_stays_open(
    agent: Served, model: ModelServer
) -> None:
    person = await agent.person()
    async with agent.database.owner() as owner:
        await owner.execute("alter function agent.find_run rename to lost")

    crashed = await person.request("GET", "/runs/run-1")

    assert (crashed.status_code, crashed.json()["code"]) == (500, "internal_error")
    assert "find_run" not in crashed.text
    assert crashed.headers.get("connection") != "close"
    network = crashed.extensions["network_stream"]
    again = await person.request("GET", "/runs/run-1")
    assert again.extensions["network_stream"].get_extra_info(
        "client_addr"
    ) == network.get_extra_info("client_addr"), "the same connection"


async def test_unknown_addresses_and_methods_are_problems_too(agent: Served) -> None:
    person = await agent.person()

    nowhere = await person.request("GET", "/nowhere")
    method = await person.request("DELETE", "/runs")

    assert (nowhere.status_code, nowhere.json()["code"]) == (404, "not_found")
    assert (method.status_code, method.json()["code"]) == (405, "method_not_allowed")
    assert method.headers["allow"] == "POST"


async def test_a_cursor_that_cannot_be_read_is_refused(agent: Served, model: ModelServer) -> None:
    person = await agent.person()
    model.will(says("ok"))
    await person.run(run_input("hi"))

    for cursor in ("x", "1", "1.2.3.4", "-1.2", "1.99999999999", "²³.1"):
        refused = await person.request("GET", f"/runs/run-1/events?after={cursor}")
        assert (refused.status_code, refused.json()["code"]) == (400, "invalid_cursor"), cursor


async def test_health_and_readiness_answer_as_probes_expect(agent: Served) -> None:
    health = await agent.client.get(f"{agent.base}/health")
    ready = await agent.client.get(f"{agent.base}/readiness")

    assert (health.status_code, health.json()) == (200, {"status": "ok"})
    assert ready.json() == {"status": "ready", "dependencies": {"database": "ok"}}


async def test_a_function_without_its_database_is_alive_and_not_ready(
    database: TestDatabase, model: ModelServer
) -> None:
    away = replace(database, url="postgresql://agent_api:x@127.0.0.1:1/none")
    async with serve(away, model) as agent:
        health = await agent.client.get(f"{agent.base}/health")
        ready = await agent.client.get(f"{agent.base}/readiness")

    assert health.status_code == 200
    assert ready.status_code == 503
    assert ready.json() == {"status": "not_ready", "dependencies": {"database": "error"}}


async def test_an_unreachable_database_is_a_problem_that_clients_may_retry(
    database: TestDatabase, model: ModelServer
) -> None:
    away = replace(database, url="postgresql://agent_api:x@127.0.0.1:1/none")
    async with serve(away, model) as agent:
        agent.database = database
        person = await agent.person()

        refused = await person.request("POST", "/runs", run_input("hi"))

    assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
    assert refused.headers["retry-after"]


async def test_a_full_process_refuses_instead_of_queueing(
    database: TestDatabase, model: ModelServer
) -> None:
    async with serve(database, model, max_live_runs=0) as agent:
        person = await agent.person()

        refused = await person.request("POST", "/runs", run_input("hi"))

    assert (refused.status_code, refused.json()["code"]) == (503, "too_many_runs")


async def test_log_lines_have_the_ids_of_a_request_and_none_of_its_content(
    agent: Served, model: ModelServer, capsys: pytest.CaptureFixture[str]
) -> None:
    log.configure_logging("assistant", "INFO")
    person = await agent.person()
    model.will(says("a secret answer"))
    trace = "0af7651916cd43dd8448eb211c80319c"

    async with person.stream(
        "POST",
        "/runs",
        run_input("a secret question"),
        **{"x-request-id": "req-7", "traceparent": f"00-{trace}-b7ad6b7169203331-01"},
    ) as frames:
        await frames.rest()
        assert frames.response.headers["x-request-id"] == "req-7"

    written = capsys.readouterr().out
    lines = [json.loads(line) for line in written.splitlines() if line.startswith("{")]
    ended = next(line for line in lines if line["event"] == "run.ended")
    assert (ended["request_id"], ended["trace_id"]) == ("req-7", trace)
    names = ("function", "agent", "client_run_id", "client_thread_id", "user_id")
    expected = ("assistant", "assistant", "run-1", "thread-1", person.sub)
    assert tuple(ended[name] for name in names) == expected
    async with agent.database.owner() as owner:
        assert ended["run_id"] == str(await owner.fetchval("select id from agent.run"))
    assert "secret" not in written
    assert person.token() not in written
