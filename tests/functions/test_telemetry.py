"""Traces and metrics that a collector receives from functions in separate processes."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from functions.assistant.app import agent as assistant
from shared.core import telemetry
from shared.core.genai import METRICS, model_call, tool_call
from shared.core.json import Json
from shared.core.settings import Settings
from shared.models.events import ModelFailed
from tests.doubles import ModelServer, Reply, calls, chunk, says
from tests.fixtures.collector import Collector, Seen, collecting
from tests.fixtures.conversations import all_legs, text
from tests.fixtures.database import TestDatabase
from tests.fixtures.functions import run_input
from tests.fixtures.processes import Process, started
from tests.fixtures.waiting import PATIENCE, until_expired, until_true

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
FROM_GATEWAY = {"traceparent": f"00-{TRACE}-{CALLER}-01"}
SERVER, CLIENT, PRODUCER = 2, 3, 4


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    async with collecting() as collector:
        yield collector


@pytest.fixture
def exporting(collector: Collector) -> Json:
    """The settings of a process that exports to the collector."""
    return {"otel_exporter_otlp_endpoint": collector.url}


async def stopped(*processes: Process) -> None:
    """Terminate the processes, so that they export what is left."""
    for process in processes:
        await process.signal(signal.SIGTERM)


def only(spans: list[Seen]) -> Seen:
    assert len(spans) == 1, spans
    return spans[0]


def only_point(collector: Collector, name: str) -> Any:
    points = collector.points(name)
    assert len(points) == 1, points
    return points[0]


async def until(what: Any) -> None:
    async with asyncio.timeout(PATIENCE):
        while not what():  # noqa: ASYNC110  # what another process sends has no event
            await asyncio.sleep(0.01)


async def test_one_trace_goes_from_the_gateway_through_agent_runner_and_tools(
    database: TestDatabase, model: ModelServer, collector: Collector, exporting: Json
) -> None:
    model.will(calls(("a", "calculator", '{"expression": "6*7"}')), says("it is ", "42"))
    async with (
        started("tools", database, model, **exporting) as tools,
        started("runner", database, model, tools_url=f"{tools.base}/mcp", **exporting) as runner,
        started("assistant", database, model, runner_url=runner.base + "/", **exporting) as agent,
    ):
        person = await agent.new_person()
        wanted = run_input("go", forwardedProps={"background": True})
        accepted = await person.request("POST", "/runs", wanted, **FROM_GATEWAY)
        assert accepted.status_code == 202
        await until_true(database, "(select status = 'completed' from agent.run)")
        await stopped(agent, runner, tools)

    assert {span.trace for span in collector.spans} == {TRACE}
    request = only(collector.named("POST /runs", "assistant"))
    sent = only(collector.named("send agent.run.waiting", "assistant"))
    delivered = only(collector.named("POST /", "runner"))
    run = only(collector.named("invoke_agent", "runner"))
    call = only(collector.named("execute_tool calculator", "runner"))
    turns = collector.named("chat fake-1", "runner")
    served = [s for s in collector.named("POST /mcp", "tools") if s.parent == call.id]
    chain = [request, sent, delivered, run, call]
    assert [span.parent for span in chain] == [CALLER, *(span.id for span in chain[:-1])]
    assert [turn.parent for turn in turns] == [run.id, run.id]
    assert [served[0].kind, sent.kind, turns[0].kind] == [SERVER, PRODUCER, CLIENT]
    assert not any(span.failed for span in collector.spans)
    assert run.links == [], "it is this trace"


async def test_spans_have_the_attributes_of_the_genai_conventions(
    database: TestDatabase, model: ModelServer, collector: Collector, exporting: Json
) -> None:
    model.will(says("it is ", "42"))
    async with started("assistant", database, model, **exporting) as agent:
        person = await agent.new_person()
        await person.run(run_input("go"))
        await stopped(agent)

    attributes = only(collector.named("chat fake-1")).attributes
    first = attributes.pop("gen_ai.response.time_to_first_chunk")
    assert 0 < first < 10
    assert attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "fake-1",
        "gen_ai.request.stream": True,
        "gen_ai.response.model": "fake-1",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 7,
        "gen_ai.usage.output_tokens": 3,
        "server.address": "127.0.0.1",
        "server.port": model.port,
    }
    assert only(collector.named("invoke_agent")).attributes == {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.conversation.id": "thread-1",
        "gen_ai.agent.name": "assistant",
        "agent.specification.hash": assistant.fingerprint(),
        "agent.run.id": "run-1",
        "agent.run.attempt": 1,
    }


async def test_metrics_count_what_was_done(
    database: TestDatabase,
    model: ModelServer,
    collector: Collector,
    exporting: Json,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "50")
    proceed = asyncio.Event()
    model.will(calls(("a", "calculator", '{"expression": "6*7"}')))
    model.will([chunk({"content": "it is "}), proceed, *says("42")])
    async with (
        started("tools", database, model, **exporting) as tools,
        started("assistant", database, model, tools_url=f"{tools.base}/mcp", **exporting) as agent,
    ):
        person = await agent.new_person()
        async with person.stream("POST", "/runs", run_input("go")) as frames:
            await frames.until("TEXT_MESSAGE_CONTENT")
            await until(lambda: [p.as_int for p in collector.points("agent.run.live")] == [1])
            proceed.set()
            await frames.rest()
        await stopped(agent, tools)

    assert [p.as_int for p in collector.points("agent.run.live")] == [0]
    tokens = "gen_ai.client.token.usage"
    assert [p.sum for p in collector.points(tokens, "gen_ai.token.type", "input")] == [14]
    assert [p.sum for p in collector.points(tokens, "gen_ai.token.type", "output")] == [6]
    for name in ("operation.duration", "operation.time_to_first_chunk"):
        point = only_point(collector, f"gen_ai.client.{name}")
        assert (point.count, 0 < point.sum < 10) == (2, True), name
    called = only_point(collector, "gen_ai.execute_tool.duration")
    assert (called.count, 0 < called.sum < 10) == (1, True)
    assert not collector.points("agent.run.takeovers")


async def test_a_takeover_is_counted_and_links_to_the_trace_of_the_run(
    database: TestDatabase, model: ModelServer, collector: Collector, exporting: Json
) -> None:
    more: Json = {**exporting, "keep_alive_seconds": 0.2}
    never = asyncio.Event()
    model.will([chunk({"content": "half "}), never], says("who", "le"))
    async with started("assistant", database, model, **more) as first:
        person = await first.new_person()
        async with person.stream("POST", "/runs", run_input("hi"), **FROM_GATEWAY) as frames:
            await frames.until("TEXT_MESSAGE_CONTENT")
            cursor = frames.ids[-1]
            await first.signal(signal.SIGKILL)
    await until_expired(database)
    async with started("assistant", database, model, **more) as second:
        await all_legs(second.person(person), cursor)
        await stopped(second)
    never.set()

    run = only(collector.named("invoke_agent"))
    assert run.trace != TRACE
    assert run.links == [TRACE]
    assert run.attributes["agent.run.attempt"] == 2
    assert [p.as_int for p in collector.points("agent.run.takeovers")] == [1]


async def test_the_time_that_a_run_waited_is_recorded(
    database: TestDatabase, model: ModelServer, collector: Collector, exporting: Json
) -> None:
    proceed = asyncio.Event()
    model.will([chunk({"content": "one"}), proceed, *says()], says("two"))
    async with started("assistant", database, model, **exporting) as agent:
        person = await agent.new_person()
        later = run_input("and?", run="run-2", forwardedProps={"busyPolicy": "enqueue"})
        async with person.stream("POST", "/runs", run_input("hi")) as frames:
            await frames.until("TEXT_MESSAGE_CONTENT")
            async with person.stream("POST", "/runs", later) as queued:
                await until_true(database, "(select count(*) = 2 from agent.run)")
                proceed.set()
                assert text(await queued.rest()) == "two"
        await stopped(agent)

    waited = only_point(collector, "agent.run.queue.duration")
    assert (waited.count, 0 < waited.sum < 10) == (1, True)


async def test_a_lease_that_was_lost_is_counted(
    database: TestDatabase, model: ModelServer, collector: Collector, exporting: Json
) -> None:
    never = asyncio.Event()
    model.will([chunk({"content": "half "}), never], says("whole"))
    async with (
        started("assistant", database, model, **exporting) as first,
        started("assistant", database, model, keep_alive_seconds=0.2) as second,
    ):
        person = await first.new_person()
        async with person.stream("POST", "/runs", run_input("hi")) as frames:
            await frames.until("TEXT_MESSAGE_CONTENT")
            cursor = frames.ids[-1]
            await first.signal(signal.SIGSTOP)
            await until_expired(database)
            await all_legs(second.person(person), cursor)
            await first.signal(signal.SIGCONT)
            await frames.rest()
        await stopped(first)
    never.set()

    assert only_point(collector, "agent.lease.losses").as_int == 1
    run = only(collector.named("invoke_agent"))
    assert (run.failed, run.attributes["error.type"]) == (True, "lease_lost")


async def test_errors_are_exported_by_their_codes_and_without_any_content(
    database: TestDatabase,
    model: ModelServer,
    collector: Collector,
    exporting: Json,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # FastAPI's own telemetry stays off: it exports the messages of exceptions.
    monkeypatch.setenv("FASTAPI_OTEL_AUTO_CONFIGURE", "true")
    refusal = b'{"error": {"message": "canary of a provider"}}'
    model.will(
        calls(
            ("a", "add_note", '{"text": "canary of a note"}'),
            ("b", "calculator", '{"expression": "canary / 0"}'),
        ),
        # The second one is the request without the provider's ids of calls.
        *[Reply([chunk({"content": "canary of an answer"}), refusal], status=400)] * 2,
    )
    async with (
        started("tools", database, model, **exporting) as tools,
        started("assistant", database, model, tools_url=f"{tools.base}/mcp", **exporting) as agent,
    ):
        person = await agent.new_person()
        seen = await person.run(run_input("canary of a question"))
        assert seen[-1]["code"] == "model_rejected"
        await person.request("GET", "/runs/canary-of-a-path?after=canary")
        await stopped(agent, tools)

    turns = collector.named("chat fake-1")
    assert [turn.attributes.get("error.type") for turn in turns] == [None, "model_rejected"]
    assert [turn.attributes.get("agent.model.status") for turn in turns] == [None, 400]
    run = only(collector.named("invoke_agent"))
    assert (run.failed, run.attributes["error.type"]) == (True, "model_rejected")
    wrong = only(collector.named("execute_tool calculator"))
    assert (wrong.failed, wrong.attributes["error.type"]) == (True, "error")
    assert not only(collector.named("execute_tool add_note")).failed
    assert collector.named("GET /runs/{run_id}")
    only(collector.named("POST /runs"))
    for body in collector.raw:
        assert b"canary" not in body
        assert person.sub.encode() not in body


async def test_an_exception_is_exported_by_its_type_or_code_and_never_by_its_message(
    collector: Collector,
) -> None:
    settings = Settings(otel_exporter_otlp_endpoint=collector.url)
    async with telemetry.exporting("assistant", settings, METRICS):
        with pytest.raises(ValueError, match="canary"), tool_call("look_up", "call-1"):
            raise ValueError("canary of an argument")
        with pytest.raises(ModelFailed), model_call("fake-1", ""):
            raise ModelFailed("model_timeout", "canary of a model", retryable=True)

    kinds = {span.name: span.attributes["error.type"] for span in collector.spans}
    assert kinds == {"execute_tool look_up": "ValueError", "chat fake-1": "model_timeout"}
    assert not [body for body in collector.raw if b"canary" in body]


async def test_a_collector_that_never_answers_disturbs_no_run_and_no_stop(
    database: TestDatabase, model: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Longer than a test waits for the end of a process.
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "600")
    connections: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(
        lambda _, writer: connections.append(writer), "127.0.0.1", 0
    )
    nowhere = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    model.will(says("hi"))
    async with started("assistant", database, model, otel_exporter_otlp_endpoint=nowhere) as agent:
        person = await agent.new_person()
        assert text(await person.run(run_input("go"))) == "hi"
        await stopped(agent)

    assert connections, "the export was tried"
    server.close()
    for writer in connections:
        writer.close()


async def test_without_an_endpoint_nothing_is_imported_and_the_trace_is_passed_on(
    database: TestDatabase,
    model: ModelServer,
    collector: Collector,
    exporting: Json,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")
    model.will(calls(("a", "calculator", '{"expression": "6*7"}')), says("42"))
    with (tmp_path / "tools").open("wb") as its, (tmp_path / "assistant").open("wb") as ours:
        async with (
            started("tools", database, model, output=its, **exporting) as tools,
            started(
                "assistant", database, model, output=ours, tools_url=f"{tools.base}/mcp"
            ) as agent,
        ):
            person = await agent.new_person()
            async with person.stream("POST", "/runs", run_input("go"), **FROM_GATEWAY) as frames:
                await frames.rest()
            await stopped(agent, tools)

    there, here = ((tmp_path / name).read_text() for name in ("tools", "assistant"))
    assert "openai" in here
    for package in ("opentelemetry.sdk", "opentelemetry.exporter", "requests"):
        assert f" {package}" in there
        assert f" {package}" not in here
    served = [span for span in collector.named("POST /mcp") if span.trace == TRACE]
    assert {span.parent for span in served} == {CALLER}


async def test_log_lines_have_the_ids_of_their_span(
    database: TestDatabase,
    model: ModelServer,
    collector: Collector,
    exporting: Json,
    tmp_path: Path,
) -> None:
    more: Json = {**exporting, "log_level": "INFO"}
    model.will(says("hi"))
    with (tmp_path / "assistant").open("wb") as output:
        async with started("assistant", database, model, output=output, **more) as agent:
            person = await agent.new_person()
            async with person.stream("POST", "/runs", run_input("go"), **FROM_GATEWAY) as frames:
                await frames.rest()
            await stopped(agent)

    lines = [json.loads(line) for line in (tmp_path / "assistant").read_text().splitlines()]
    by_event = {line["event"]: line for line in lines}
    for event, span in (("run.ended", "invoke_agent"), ("request.ended", "POST /runs")):
        line = next(x for x in lines if x["event"] == event and "trace_id" in x)
        assert (line["trace_id"], line["span_id"]) == (TRACE, only(collector.named(span)).id)
    assert "trace_id" not in by_event["function.ready"]


@pytest.mark.parametrize(
    ("given", "carried"),
    [
        ({"traceparent": f"00-{TRACE}-{CALLER}-01", "tracestate": "a=1"}, {"tracestate": "a=1"}),
        ({"ce-traceparent": f"00-{TRACE}-{CALLER}-01", "tracestate": "other=1"}, {}),
        ({"traceparent": f"00-{TRACE}-{CALLER}-01", "tracestate": "\xe4"}, {}),
        ({"traceparent": f"00-{TRACE}-{CALLER}-01\r\nx: y"}, None),
        ({"traceparent": "canary", "tracestate": "a=1"}, None),
    ],
)
def test_only_a_whole_traceparent_is_passed_on_with_its_own_state(
    given: dict[str, str], carried: dict[str, str] | None
) -> None:
    headers = {name.encode(): value.encode("latin-1") for name, value in given.items()}
    with telemetry.serving("GET", headers):
        wanted = {} if carried is None else {**FROM_GATEWAY, **carried}
        assert telemetry.carried() == wanted
        assert telemetry.ids() == ({"trace_id": TRACE} if wanted else {})
    assert telemetry.carried() == {}
