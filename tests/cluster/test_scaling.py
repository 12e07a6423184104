"""From zero pods to as many as are needed, and back."""

import asyncio
import json
import math

from functions.registry import listed_functions
from shared.core.json import Json
from tests.cluster.bundle import ClusterBundle
from tests.cluster.people import NewPerson
from tests.cluster.waits import asleep, until
from tests.fixtures.functions import Person, run_input


async def test_every_function_is_ready(bundle: ClusterBundle) -> None:
    rows = await asyncio.to_thread(bundle.status)
    assert {row["service"] for row in rows} == {*listed_functions().names}
    assert {row["ready"] for row in rows} == {"yes"}


async def test_a_request_to_no_pod_is_answered_and_its_answer_streams(
    bundle: ClusterBundle, new_person: NewPerson
) -> None:
    person = await new_person()
    await asleep(bundle, "assistant")
    async with person.stream("POST", "/runs", run_input("count 30 300", run="cold")) as frames:
        assert frames.response.status_code == 200
        await frames.until("TEXT_MESSAGE_CONTENT")
        status = "select status from agent.run where client_run_id = 'cold'"
        # The first text has arrived, and the run has not ended.
        assert await asyncio.to_thread(bundle.sql, status) == "in_progress"
        rest = await frames.rest()
    assert rest[-1]["type"] == "RUN_FINISHED"


async def test_functions_scale_back_to_zero(bundle: ClusterBundle, new_person: NewPerson) -> None:
    person = await new_person()
    await person.run(run_input("hello", run="short"))
    assert await asyncio.to_thread(bundle.pods, "assistant")
    await asleep(bundle, *listed_functions().names)


async def test_open_streams_bring_as_many_pods_as_they_need(
    bundle: ClusterBundle, new_person: NewPerson
) -> None:
    person = await new_person()
    streams, target = 5, 2
    async with asyncio.TaskGroup() as group:
        runs = [group.create_task(_long(person, nth)) for nth in range(streams)]
        pods = math.ceil(streams / target)
        await until(90, f"{pods} pods", lambda: len(_running(bundle)) == pods)
    assert [each.result()[-1]["type"] for each in runs] == ["RUN_FINISHED"] * streams


def _running(bundle: ClusterBundle) -> list[Json]:
    return [each for each in bundle.pods("assistant") if each["status"]["phase"] == "Running"]


async def _long(person: Person, nth: int) -> list[Json]:
    return await person.run(run_input("count 100 600", run=f"long-{nth}", thread=f"long-{nth}"))


async def test_only_knative_and_functions_reach_a_function(bundle: ClusterBundle) -> None:
    through = "http://tools.agent-backend.svc.cluster.local/health"
    script = f"from urllib.request import urlopen; print(urlopen({through!r}, timeout=60).read())"
    assert "ok" in await asyncio.to_thread(bundle.inside, script)
    pods = await asyncio.to_thread(bundle.pods, "tools")
    addresses = [each["status"]["podIP"] for each in pods]
    assert addresses
    for port in (8080, 8012):
        answered = await asyncio.to_thread(bundle.inside, _CONNECT.format(addresses[0], port))
        assert json.loads(answered) != "connected", "does the cluster enforce NetworkPolicies?"


_CONNECT = """
import json, socket
try:
    socket.create_connection(({!r}, {}), timeout=5)
    print(json.dumps("connected"))
except OSError as error:
    print(json.dumps(type(error).__name__))
"""
