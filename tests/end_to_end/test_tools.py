"""Tools for an app's user: through the gateway, with a model that calls them, in processes of their own."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest

from local.plan import Plan
from local.stack import start_stack
from shared.core.json import Json
from tests.fixtures.stack import Stack, outside, plan_of, stack_folder

CREDENTIALS = ("canary-of-the-model", "canary-of-the-weather", "canary-of-the-server")
ODD = "call: look_up "


def post(stack: Stack, body: Json, **who: Any) -> list[Json]:
    """The frames of a run."""
    auth = {"authorization": f"Bearer {stack.token(**who)}"}
    answered = httpx.post(f"{stack.gateway}/assistant/runs", json=body, headers=auth, timeout=60)
    assert answered.status_code == 200, answered.text
    lines = answered.text.splitlines()
    return [json.loads(line[6:]) for line in lines if line.startswith("data: ")]


def says(text: str, *, thread: str | None = None) -> Json:
    message = {"id": str(uuid4()), "role": "user", "content": text}
    return {"threadId": thread or str(uuid4()), "runId": str(uuid4()), "messages": [message]}


def results(frames: list[Json]) -> list[str]:
    assert frames[-1]["type"] == "RUN_FINISHED", frames[-1]
    return [frame["content"] for frame in frames if frame["type"] == "TOOL_CALL_RESULT"]


def test_three_calls_of_one_turn_have_their_results(stack: Stack) -> None:
    weather, sum_, note = (
        'get_weather {"location": "Oslo"}',
        'calculator {"expression": "6*7"}',
        'add_note {"text": "bring a coat"}',
    )
    found = sorted(results(post(stack, says(f"call: {weather}|{sum_}|{note}"))))

    assert len(found) == 3
    assert [json.loads(each).get("value") for each in found].count("42") == 1
    assert any('"source":"mock"' in each for each in found)


def test_a_call_of_an_admins_tool_is_denied_to_other_users(stack: Stack) -> None:
    ask = says("call: admin_diagnostics {}")
    (denied,) = results(post(stack, ask, user="bob"))
    (allowed,) = results(post(stack, says("call: admin_diagnostics {}"), user="ann", role="admin"))

    assert denied == "There is no tool named 'admin_diagnostics'."
    assert "expired_leases" in allowed


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("hang", "did not answer in time"),
        ("flood", "The server's answer is too large."),
        ("die", "broke off"),
    ],
)
def test_a_tool_that_fails_its_run_is_a_result(stack: Stack, how: str, expected: str) -> None:
    (result,) = results(post(stack, says(ODD + json.dumps({"how": how}))))

    assert expected in result


@pytest.fixture
def plan() -> Iterator[Plan]:
    """A bundle that keeps its data when it is stopped."""
    with outside() as (model, _), stack_folder() as folder:
        yield plan_of(folder, model, {}, keeps_data=True)


def test_an_interrupt_can_be_approved_after_a_restart_of_every_process(
    plan: Plan, stack: Stack
) -> None:
    thread = str(uuid4())
    with start_stack(plan) as running:
        before = replace(stack, running=running, keys=plan.keys)
        (kept,) = results(post(before, says('call: add_note {"text": "old"}')))
        deletes = json.dumps({"id": json.loads(kept)["id"]})
        ending = post(before, says(f"call: delete_note {deletes}", thread=thread))[-1]
    (question,) = ending["outcome"]["interrupts"]

    with start_stack(plan) as running:
        after = replace(stack, running=running, keys=plan.keys)
        resume = {"interruptId": question["id"], "status": "resolved"}
        answer = {**resume, "payload": {"approved": True}}
        body = {"threadId": thread, "runId": "again", "messages": [], "resume": [answer]}
        deleted = results(post(after, body))
        (left,) = results(post(after, says("call: list_notes {}")))

    assert len(deleted) == 1
    assert json.loads(left)["notes"] == []


async def all_rows(url: str) -> dict[str, str]:
    """All rows of schema `agent`, by table."""
    connection = await asyncpg.connect(url)
    try:
        tables = await connection.fetch(
            "select relname from pg_class where relnamespace = 'agent'::regnamespace and relkind = 'r'"
        )
        return {
            name: str(await connection.fetch(f"select t::text from agent.{name} t"))
            for (name,) in tables
        }
    finally:
        await connection.close()


def test_secrets_are_in_no_row_log_or_answer(stack: Stack) -> None:
    """Credentials are in no row, log or answer; the arguments of a call are in its own thread and nowhere else."""
    canary = "canary-of-a-call"
    ask = says(f"{ODD}{json.dumps({'how': canary})}|get_weather {json.dumps({'location': canary})}")
    frames = post(stack, ask, user="ann")
    refused = httpx.post(f"{stack.gateway}/assistant/runs", headers={"authorization": canary})
    token = {"authorization": f"Bearer {stack.token(user='ann')}"}
    wrong = httpx.post(
        f"{stack.gateway}/assistant/runs",
        json={**ask, "runId": 5, "state": canary},
        headers={**token, "x-request-id": f"{canary}!"},
    )
    reused = httpx.post(
        f"{stack.gateway}/assistant/runs", json={**ask, "state": {"is": canary}}, headers=token
    )

    assert f"{canary} of a result" in results(frames)
    assert [a.status_code for a in (refused, wrong, reused)] == [401, 422, 409]
    logs = {
        child.name: child.log.read_text(errors="replace") for child in stack.running.children.all
    }
    assert {"assistant", "tools", "gateway"} <= {name for name, text in logs.items() if text}
    rows = asyncio.run(all_rows(stack.running.owner_url))
    problems = refused.text + wrong.text + reused.text
    assert canary in rows["run_event"], "the test looks at the right place"
    everywhere = json.dumps([rows, logs, frames, problems])
    assert [word for word in CREDENTIALS if word in everywhere] == []
    others = {
        name for name, text in {**rows, **logs, "problems": problems}.items() if canary in text
    }
    # The run with its request, its items and its log; and the place in the cache of the weather, which has no owner.
    assert others <= {"run", "run_event", "item", "weather_cache"}
