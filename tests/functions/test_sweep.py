"""The schedule's sweep: accepted with the gateway's assertion alone, and from no user."""

import time
from uuid import uuid4

import pytest

from tests.doubles import ModelServer, says
from tests.fixtures.conversations import leave_waiting, wait_for_status
from tests.fixtures.database import TestDatabase
from tests.fixtures.functions import KEYS, Served, run_input
from tests.golden.signing import mint


def assertion(**changes: str) -> str:
    """The assertion that the gateway signs for a caller with the schedule's secret."""
    now = int(time.time())
    claims = {
        "iss": "auth-gateway",
        "aud": "assistant",
        "sub": "sweep",
        "session_id": "sweep",
        "ath": "",
    }
    times = {"iat": now, "exp": now + 60, "jti": str(uuid4())}
    signed = {**claims, "htm": "POST", "htu": "/sweep", **times, **changes}
    return mint(KEYS, "gateway", signed, typ="gw+jwt")


async def test_one_sweep_finishes_a_waiting_run(
    agent: Served, model: ModelServer, database: TestDatabase
) -> None:
    person = await agent.person()
    body = run_input("hi")
    model.will(says("done"))
    # Only its row shows that it waits.
    await leave_waiting(agent, person, body)

    headers = {"x-gateway-assertion": assertion()}
    swept = await agent.client.post(agent.base + "/sweep", headers=headers)

    assert swept.json() == {"dispatched": 1}
    await wait_for_status(person, "completed")


@pytest.mark.parametrize("changes", [{"sub": str(uuid4())}, {"htu": "/runs"}, {"aud": "runner"}])
async def test_any_other_caller_of_sweep_is_refused(agent: Served, changes: dict[str, str]) -> None:
    person = await agent.person()
    for headers in (
        {},
        {"x-gateway-assertion": assertion(**changes)},
        person.headers("POST", "/sweep"),
    ):
        refused = await agent.client.post(agent.base + "/sweep", headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (401, "unauthorized")
