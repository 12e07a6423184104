"""Parts of `make cluster-test` that can be tested without a cluster."""

import json
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from local.children import Children
from local.environment import ROOT
from local.probe import free_port
from shared.core.json import Json
from tests.cluster import kills, stops
from tests.cluster.bundle import ClusterBundle
from tests.cluster.choice import Choice
from tests.cluster.init_process import NEEDED, Init, init_process
from tests.cluster.killing import KILL
from tests.cluster.load import Load
from tests.cluster.people import people_of
from tests.cluster.rehearsal import Rehearsal, is_there, rehearsing
from tests.cluster.runs import RunBatch, assert_one_attempt
from tests.cluster.waits import until
from tests.doubles import ModelServer
from tests.fixtures.database import TestDatabase
from tests.fixtures.functions import run_input, serve, settings_for
from tests.knative.rendering import container, render, scaling, services
from tests.knative.schemas import faults

_DIGEST = "localhost:5000/agent-functions@sha256:" + "1" * 64


@pytest.fixture
def bundle(tmp_path: Path) -> ClusterBundle:
    made = ClusterBundle(
        tmp_path, Choice.of({"CLUSTER_IMAGE": _DIGEST, "CLUSTER_PYTHON_IMAGE": "python"})
    )
    made.write()
    return made


def test_a_cluster_accepts_all_applied_objects(bundle: ClusterBundle) -> None:
    objects = [*render(bundle.world), *render(bundle.overlay)]
    assert not [fault for each in objects for fault in faults(each)]
    for service in services(objects).values():
        assert container(service)["image"] == _DIGEST
        assert scaling(service)["target"] == "2"
    images = [container(each)["image"] for each in objects if each["kind"] == "Deployment"]
    assert sorted(images) == ["postgres:17", "python"]


def test_a_cluster_accepts_all_applied_objects_with_a_broker(bundle: ClusterBundle) -> None:
    bundle.use("network-policy", "eventing")
    objects = render(bundle.overlay)
    assert not [fault for each in objects for fault in faults(each)]
    kinds = [each["kind"] for each in objects]
    assert (kinds.count("Broker"), kinds.count("Trigger"), kinds.count("SinkBinding")) == (1, 1, 2)


def test_other_settings_are_another_revision(bundle: ClusterBundle) -> None:
    before = _settings(bundle)
    bundle.set(KEEP_ALIVE_SECONDS="14")
    after = _settings(bundle)
    assert before["metadata"]["name"] != after["metadata"]["name"]
    assert after["data"] == {**before["data"], "KEEP_ALIVE_SECONDS": "14"}
    assert before["data"]["GATEWAY_PUBLIC_KEYS"].startswith('{"keys": [{')


def _settings(bundle: ClusterBundle) -> Json:
    [found] = [each for each in render(bundle.overlay) if each["kind"] == "ConfigMap"]
    return found


async def test_its_model_counts_for_the_functions(
    database: TestDatabase, model: ModelServer, counting: str
) -> None:
    async with serve(database, model, openai_base_url=counting) as agent:
        frames = await (await agent.person()).run(run_input("count 5 10"))
    assert "".join(each.get("delta", "") for each in frames) == "1 2 3 4 5"
    assert frames[-1]["type"] == "RUN_FINISHED"


@pytest.fixture
async def counting(tmp_path: Path, bundle: ClusterBundle) -> AsyncIterator[str]:
    """The suite's model, running: its address."""
    port = free_port()
    script = bundle.world / "model.py"
    with Children(tmp_path / "logs") as children:
        children.start("model", [sys.executable, script, str(port)], env=dict(os.environ))
        await until(10, "the model listens", is_there, f"http://127.0.0.1:{port}/")
        yield f"http://127.0.0.1:{port}/v1"


@pytest.fixture
async def rehearsal(
    tmp_path: Path, database: TestDatabase, model: ModelServer, counting: str
) -> AsyncIterator[Rehearsal]:
    settings = settings_for(database, model)
    async with rehearsing(tmp_path, settings, counting, database.owner_url) as made:
        yield made


@pytest.mark.long
async def test_its_kills_lose_nothing_on_processes_of_this_machine(rehearsal: Rehearsal) -> None:
    async with people_of(rehearsal) as new_person:
        await kills.a_client_returns_to_a_killed_run(rehearsal, new_person)
        await kills.a_sweep_finishes_a_killed_run(rehearsal, new_person)


async def test_its_stops_end_every_run_in_one_attempt_on_processes_of_this_machine(
    rehearsal: Rehearsal,
) -> None:
    async with people_of(rehearsal) as new_person:
        await stops.a_background_run_ends_in_runner(
            rehearsal, new_person, RunBatch("waiting", 1, seconds=3)
        )
        await stops.clients_leave_and_all_pods_stop(
            rehearsal, new_person, RunBatch("left", 3, seconds=4)
        )


async def test_its_streams_are_whole_in_a_process_that_stops(rehearsal: Rehearsal) -> None:
    async with people_of(rehearsal) as new_person:
        runs = RunBatch("streamed", 5, seconds=4)
        await stops.all_pods_stop_under_streams(rehearsal, new_person, runs)


async def test_a_second_request_for_a_run_fails_its_count(rehearsal: Rehearsal) -> None:
    runs = RunBatch("twice", 1, seconds=0.5)
    async with people_of(rehearsal) as new_person:
        person = await new_person()
        await person.run(runs.body("twice-0"))
        await assert_one_attempt(rehearsal, runs)
        await person.run(run_input(runs.message("twice-0"), run="other", thread="other"))
    with pytest.raises(AssertionError, match=r"requests: \{'twice-0': 2\}"):
        await assert_one_attempt(rehearsal, runs)


def test_it_distinguishes_running_containers_from_killed_ones(tmp_path: Path) -> None:
    killed, stopped = _ended("old", 137), _ended("done", 0)
    statuses = [
        _status("new", running={}) | {"lastState": killed},
        _status("done") | {"state": stopped},
        {"name": "queue-proxy", "containerID": "other", "state": {"running": {}}},
    ]
    pods = [
        {"metadata": {"name": f"pod-{nth}"}, "status": {"containerStatuses": [status]}}
        for nth, status in enumerate(statuses)
    ]
    canned = Canned(tmp_path, Choice("none"), printed=json.dumps({"items": pods}))
    assert [(pod, each["containerID"]) for pod, each in canned.running("assistant").items()] == [
        ("pod-0", "new")
    ]
    assert canned.killed("assistant") == {"old"}


@dataclass
class Canned(ClusterBundle):
    """A cluster that gives the same answer to every command."""

    printed: str = ""

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        return self.printed


def _status(container_id: str, **state: Json) -> Json:
    return {"name": "function", "containerID": container_id, "state": state}


def _ended(container_id: str, code: int) -> Json:
    return {"terminated": {"containerID": container_id, "exitCode": code}}


async def test_its_kill_is_not_announced_to_the_init_of_a_container(init: Init) -> None:
    assert init.run("import os; os.kill(1, 9)") == 0
    assert init.is_alive()
    assert init.run(KILL) == -signal.SIGKILL
    assert init.ending() == (128 + signal.SIGKILL, "")


async def test_a_stop_is_announced_to_it(init: Init) -> None:
    assert init.run("import os; os.kill(1, 15)") == 0
    assert init.run(KILL) == -signal.SIGKILL
    assert init.ending() == (128 + signal.SIGKILL, "SIGTERM\n")


@pytest.fixture
async def init() -> AsyncIterator[Init]:
    if os.geteuid() or not all(map(shutil.which, NEEDED)):
        pytest.skip(f"needs root and {', '.join(NEEDED)}")
    with init_process(free_port()) as made:
        await until(10, "it answers", made.is_alive)
        yield made


async def test_its_load_records_how_each_run_ended(rehearsal: Rehearsal) -> None:
    async with people_of(rehearsal) as new_person:
        load = Load(await new_person())
        async with load.going_on():
            await load.more(5)
            assert set(load.ended) == {"RUN_FINISHED"}
            rehearsal.children["assistant"].stop()
            await load.more(10)
    assert set(load.ended) > {"RUN_FINISHED"}


def test_every_choice_is_documented() -> None:
    documented = (ROOT / "docs/cluster-test.md").read_text()
    for name in Choice.__dataclass_fields__:
        assert f"| `CLUSTER_{name.upper()}` |" in documented
