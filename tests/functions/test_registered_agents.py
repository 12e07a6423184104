"""The runner loads the agent of each run: one that is broken or gone fails no run at once, and delays no other."""

import asyncio
import json
import signal
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from functions.runner.app import router
from shared.core.json import Json
from shared.http.app import create_app
from shared.http.loading import RegisteredAgents
from shared.http.services import run_services
from shared.runs.store import RunStore
from tests.doubles import ModelServer, Reply, chunk, says
from tests.fixtures.checkout import Checkout, checked_out
from tests.fixtures.conversations import leave_orphan, leave_waiting
from tests.fixtures.database import TestDatabase
from tests.fixtures.functions import (
    Person,
    Served,
    listening,
    run_input,
    serve,
    settings_for,
)
from tests.fixtures.processes import Process
from tests.fixtures.waiting import PATIENCE, until_expired, until_text_committed, until_true

_CANARY = "canary-of-a-message"


@pytest.fixture
def revision(tmp_path: Path, database: TestDatabase, model: ModelServer) -> Checkout:
    return checked_out(tmp_path, database, model)


async def wait_for_support(agent: Served, run: str = "run-1") -> str:
    """Leave a run of the agent `support` that waits. Returns its id."""
    run_id = await leave_waiting(
        agent, await agent.person(), run_input("hi", run=run, thread=f"thread of {run}")
    )
    async with agent.database.owner() as owner:
        await owner.execute("update agent.run set agent = 'support' where id = $1", run_id)
    return run_id


async def refusal_of(runner: Process, run_id: str) -> httpx.Response:
    """Deliver a run, which the runner refuses."""
    answer = await runner.post_event(run_id)
    assert (answer.status_code, answer.json()["code"]) == (503, "agent_unavailable")
    assert answer.headers["retry-after"] == "5"
    return answer


async def refusals_of(database: TestDatabase, run_id: str) -> tuple[Any, ...]:
    async with database.owner() as owner:
        query = "select refusals, refusal_reason, dispatched_at from agent.lease where run_id = $1"
        return tuple(await owner.fetchrow(query, run_id) or ())


async def almost_end(database: TestDatabase, reason: str) -> None:
    """Let the runs have been refused for an hour."""
    async with database.owner() as owner:
        await owner.execute(
            "update agent.lease set refusals = 4, refused_for = '1 hour', refused_at = now(), refusal_reason = $1",
            reason,
        )


async def ended_runs(database: TestDatabase) -> list[tuple[str, str | None]]:
    async with database.owner() as owner:
        rows = await owner.fetch(
            "select status, ending ->> 'code' as code from agent.run order by created_at"
        )
    return [(row["status"], row["code"]) for row in rows]


def model_of(request: Json) -> tuple[str, str]:
    """The model of a request, and its system message."""
    return request["model"], request["messages"][0]["content"]


async def test_a_runner_executes_each_run_with_its_own_agent_and_loads_each_once(
    agent: Served, database: TestDatabase, model: ModelServer, revision: Checkout
) -> None:
    model.answer_all = lambda _: Reply(says("done"))
    revision.write_support()
    runs = [await wait_for_support(agent, run) for run in ("run-1", "run-2")]
    own = await leave_waiting(agent, await agent.person(), run_input("hi", run="run-3"))
    async with revision.started("runner") as runner:
        for run_id in [*runs, own]:
            assert (await runner.post_event(run_id)).status_code == 204

    assert await ended_runs(database) == [("completed", None)] * 3
    first, second, third = (model_of(request) for request in model.requests)
    assert first == second == ("fake-2", "You are the support.")
    assert third[0] == "fake-1"
    assert third[1].startswith("You are a helpful assistant")


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (f"raise RuntimeError('{_CANARY}')", "RuntimeError"),
        ("import no_such_library", "ModuleNotFoundError"),
        ("raise SystemExit", "SystemExit"),
        ("this is no Python", "SyntaxError"),
    ],
)
async def test_a_broken_module_is_imported_again_with_the_next_delivery(
    agent: Served,
    database: TestDatabase,
    model: ModelServer,
    revision: Checkout,
    code: str,
    error: str,
) -> None:
    revision.write_support(code)
    run_id = await wait_for_support(agent)
    async with revision.started("runner") as runner:
        for nth in (1, 2):
            await refusal_of(runner, run_id)
            assert await refusals_of(database, run_id) == (nth, "agent_broken", None)
        lines = [json.loads(line) for line in revision.log_lines("agent.broken")]
        assert [(line["agent"], line["error"]) for line in lines] == [("support", error)] * 2
        assert all(line["at"].endswith("functions/support/app.py:1") for line in lines)
        assert _CANARY not in (revision.folder / "log").read_text()

        revision.write_support()
        model.will(says("done"))
        assert (await runner.post_event(run_id)).status_code == 204
    assert await ended_runs(database) == [("completed", None)]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("app = None", "NoAgent"),
        (
            "from shared.agents import Agent, Model\nfrom shared.http import agent_app\n"
            "agent = Agent(instructions='', model=Model(provider='nowhere'))\n"
            "app = agent_app('support', agent)\n",
            "InvalidSettings",
        ),
    ],
)
async def test_a_module_without_a_usable_agent_is_broken(
    agent: Served,
    database: TestDatabase,
    model: ModelServer,
    revision: Checkout,
    text: str,
    error: str,
) -> None:
    revision.write_support(text=text)
    run_id = await wait_for_support(agent)
    async with revision.started("runner") as runner:
        await refusal_of(runner, run_id)
        assert await refusals_of(database, run_id) == (1, "agent_broken", None)

        # The module could be imported, and is imported again.
        revision.write_support()
        model.will(says("done"))
        assert (await runner.post_event(run_id)).status_code == 204

    [line] = map(json.loads, revision.log_lines("agent.broken"))
    assert line["error"] == error


async def test_the_list_decides_which_agents_there_are(
    agent: Served, database: TestDatabase, model: ModelServer, revision: Checkout
) -> None:
    revision.write_support()
    app, listed = revision.functions / "support/app.py", revision.functions / "functions.json"
    run_id = await wait_for_support(agent)
    own = await leave_waiting(agent, await agent.person(), run_input("hi", run="run-2"))
    app.rename(revision.folder / "app.py")
    async with revision.started("runner") as runner:
        await refusal_of(runner, run_id)
        assert await refusals_of(database, run_id) == (1, "agent_broken", None)
        model.will(says("done"))
        assert (await runner.post_event(own)).status_code == 204, "other agents are executed"
    [line] = map(json.loads, revision.log_lines("agent.broken"))
    assert (line["error"], line["at"]) == ("NoModule", "functions/support/app.py")

    (revision.folder / "app.py").rename(app)
    content = json.loads(listed.read_text())
    content["functions"] = [each for each in content["functions"] if each["name"] != "support"]
    listed.write_text(json.dumps(content))
    async with revision.started("runner") as runner:
        await refusal_of(runner, run_id)
        assert await refusals_of(database, run_id) == (1, "agent_gone", None)


async def test_an_import_that_hangs_delays_no_other_agent_and_is_not_started_twice(
    agent: Served, database: TestDatabase, model: ModelServer, revision: Checkout
) -> None:
    go = revision.folder / "go"
    revision.write_support(
        "import pathlib, time\n"
        f"pathlib.Path({str(revision.folder / 'imports')!r}).open('a').write('.')\n"
        f"while not pathlib.Path({str(go)!r}).exists():\n    time.sleep(0.05)"
    )
    run_id = await wait_for_support(agent)
    own = await leave_waiting(agent, await agent.person(), run_input("hi", run="run-2"))
    model.will(says("done"))
    async with revision.started("runner", agent_load_seconds=2.0) as runner:
        delivered = asyncio.ensure_future(refusal_of(runner, run_id))
        await asyncio.sleep(0.2)
        assert (await runner.post_event(own)).status_code == 204
        assert not delivered.done(), "the other run did not wait for it"
        await delivered
        await refusal_of(runner, run_id)
        lines = [json.loads(line) for line in revision.log_lines("agent.broken")]
        assert [line["error"] for line in lines] == ["TimeoutError"] * 2
        hanging = ("functions/support/app.py:3", "functions/support/app.py:4")
        assert all(line["at"].endswith(hanging) for line in lines), "no second import waits for it"
        assert (revision.folder / "imports").read_text() == ".", "it is still the first import"

        go.touch()
        model.will(says("done"))
        assert (await runner.post_event(run_id)).status_code == 204
    assert await ended_runs(database) == [("completed", None)] * 2


async def test_a_runner_stops_in_time_while_an_import_hangs(
    agent: Served, revision: Checkout
) -> None:
    revision.write_support("import time\ntime.sleep(3600)")
    run_id = await wait_for_support(agent)
    async with revision.started("runner") as runner:
        delivery = asyncio.ensure_future(runner.post_event(run_id))
        await asyncio.sleep(0.5)
        async with asyncio.timeout(10):
            await runner.signal(signal.SIGTERM)
        await asyncio.wait([delivery])
        delivery.exception()


async def test_a_run_whose_agent_is_gone_waits_an_hour_and_then_fails(
    agent: Served, database: TestDatabase, model: ModelServer, revision: Checkout
) -> None:
    run_id = await wait_for_support(agent)
    async with serve(database, model, runner_url="http://127.0.0.1:1/") as enqueuing:
        async with database.owner() as owner:
            sub, thread = await owner.fetchrow(  # type: ignore[misc]  # one row
                "select run.owner::text, client_thread_id from agent.run join agent.thread on thread.id = thread_id"
            )
        person = Person(enqueuing.client, enqueuing.base, sub)
        later = run_input("and?", run="run-2", thread=thread)
        props = {"background": True, "busyPolicy": "enqueue"}
        answer = await person.request("POST", "/runs", {**later, "forwardedProps": props})
        assert answer.status_code == 202
    async with revision.started("runner") as runner:
        await refusal_of(runner, run_id)
        assert await refusals_of(database, run_id) == (1, "agent_gone", None)
        assert revision.log_lines("agent.broken") == []

        await almost_end(database, "agent_gone")
        model.will(says("done"))
        assert (await runner.post_event(run_id)).status_code == 204
        # The thread continues with its next run, which another agent answers.
        await until_true(database, "(select bool_and(ended_at is not null) from agent.run)")
    assert await ended_runs(database) == [("failed", "agent_gone"), ("completed", None)]


async def test_a_broken_agent_fails_its_runs_with_its_own_code(
    agent: Served, database: TestDatabase, revision: Checkout
) -> None:
    revision.write_support("raise RuntimeError")
    run_id = await wait_for_support(agent)
    await almost_end(database, "agent_broken")
    async with revision.started("runner") as runner:
        assert (await runner.post_event(run_id)).status_code == 204

    assert await ended_runs(database) == [("failed", "agent_broken")]


async def test_runs_of_an_agent_wait_for_the_revision_that_has_it(
    agent: Served, database: TestDatabase, model: ModelServer, tmp_path: Path
) -> None:
    older, newer = (checked_out(tmp_path / name, database, model) for name in ("old", "new"))
    newer.write_support()
    runs = [await wait_for_support(agent, f"run-{n}") for n in range(4)]
    model.answer_all = lambda _: Reply(says("done"))
    async with older.started("runner") as old:
        for run_id in runs * 2:
            await refusal_of(old, run_id)
        async with newer.started("runner") as new:
            # While both receive deliveries, only the new one executes these runs.
            for run_id in runs[:2]:
                await refusal_of(old, run_id)
                assert (await new.post_event(run_id)).status_code == 204
            assert (await old.post_event(runs[0])).status_code == 204, "it waits no more"
            await new.client.post(new.base + "/sweep")
            await until_true(database, "(select bool_and(ended_at is not null) from agent.run)")
    assert await ended_runs(database) == [("completed", None)] * 4


async def test_a_loaded_agent_costs_one_claim_per_run(
    agent: Served, database: TestDatabase, model: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    model.answer_all = lambda _: Reply(says("done"))
    person = await agent.person()
    runs = [
        await leave_waiting(agent, person, run_input("hi", run=run, thread=run))
        for run in ("run-1", "run-2")
    ]
    claims: list[list[str]] = []
    claim = RunStore.claim

    async def count(store: RunStore, run_id: str, agents: Sequence[str]) -> Any:
        claims.append([*agents])
        return await claim(store, run_id, agents)

    monkeypatch.setattr(RunStore, "claim", count)
    build = partial(run_services, agents=RegisteredAgents(lambda: ["assistant"]))
    app = create_app("runner", router, build, settings=settings_for(database, model))
    async with listening(app):
        for run_id in runs:
            await app.services.worker.execute_delivered(run_id)

    assert claims == [[], ["assistant"], ["assistant"]]
    assert await ended_runs(database) == [("completed", None)] * 2


async def test_a_takeover_waits_only_for_the_rest_of_the_grace_after_another_process_looked(
    agent: Served, database: TestDatabase, model: ModelServer
) -> None:
    await leave_orphan(agent, await agent.person(), model)
    async with database.owner() as owner:
        looked = (
            "update agent.lease set suspected_at = now() - interval '3599 s' returning run_id::text"
        )
        run_id = await owner.fetchval(looked)
    model.will(says("done"))
    build = partial(run_services, agents=RegisteredAgents(lambda: ["assistant"]))
    settings = settings_for(database, model, takeover_grace_seconds=3600.0)
    app = create_app("runner", router, build, settings=settings)
    async with listening(app), asyncio.timeout(PATIENCE):
        await app.services.worker.execute_delivered(run_id)

    assert await ended_runs(database) == [("completed", None)]


async def test_a_runner_finishes_a_killed_run_with_its_agents_prompt_and_model(
    database: TestDatabase, model: ModelServer, revision: Checkout
) -> None:
    never = asyncio.Event()
    revision.write_support(model="fake-2")
    model.will([chunk({"content": "half "}), never], says("who", "le"))
    async with revision.started("support") as support:
        person = replace(await support.new_person(), function="support")
        async with person.stream("POST", "/runs", run_input("hi")) as frames:
            await frames.until("TEXT_MESSAGE_CONTENT")
            await until_text_committed(database)
            await support.signal(signal.SIGKILL)
    await until_expired(database)
    # A takeover uses the agent as the new revision has it.
    revision.write_support(model="fake-3")
    async with revision.started("runner") as runner:
        await runner.client.post(runner.base + "/sweep")
        await until_true(database, "(select status = 'completed' from agent.run)")

    assert [model_of(request) for request in model.requests] == [
        ("fake-2", "You are the support."),
        ("fake-3", "You are the support."),
    ]
    async with database.owner() as owner:
        assert await owner.fetchval("select attempt from agent.run") == 2
    never.set()
