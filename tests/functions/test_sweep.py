"""The schedule's sweep: let in by the gateway's word alone, and by no user's."""

import time
from uuid import uuid4

import pytest

from tests.doubles import ModelServer, says
from tests.fixtures.conversations import leave_waiting, wait_for_status
from tests.fixtures.database import TestDatabase
from tests.fixtures.functions import KEYS, Served, run_input
from tests.golden.signing import mint


def assertion(**changes: str) -> str:
    """What the gateway signs for who knows the schedule's secret."""
    now = int(time.time())
    said = {"iss": "auth-gateway", "aud": "agent", "sub": "sweep", "session_id": "sweep", "ath": ""}
    times = {"iat": now, "exp": now + 60, "jti": str(uuid4())}
    signed = {**said, "htm": "POST", "htu": "/sweep", **times, **changes}
    return mint(KEYS, "gateway", signed, typ="gw+jwt")


async def test_one_sweep_finishes_what_waits(
    agent: Served, model: ModelServer, database: TestDatabase
) -> None:
    person = await agent.person()
    body = run_input("hi")
    model.will(says("done"))
    # Only the row knows that it waits.
    await leave_waiting(agent, person, body)

    headers = {"x-gateway-assertion": assertion()}
    swept = await agent.client.post(agent.base + "/sweep", headers=headers)

    assert swept.json() == {"dispatched": 1}
    await wait_for_status(person, "completed")


@pytest.mark.parametrize("changes", [{"sub": str(uuid4())}, {"htu": "/runs"}, {"aud": "runner"}])
async def test_nobody_else_sweeps(agent: Served, changes: dict[str, str]) -> None:
    person = await agent.person()
    for headers in (
        {},
        {"x-gateway-assertion": assertion(**changes)},
        person.headers("POST", "/sweep"),
    ):
        refused = await agent.client.post(agent.base + "/sweep", headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (401, "unauthorized")
