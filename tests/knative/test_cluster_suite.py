"""What `make cluster-test` takes to a cluster, as far as it can be tried without one."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import asyncpg
import httpx
import pytest

from local.children import Child, Children
from local.environment import ROOT
from local.probe import free_port
from shared.contracts import Json
from tests.cluster import test_survival
from tests.cluster.bundle import Bundle, Choice
from tests.cluster.people import meeting
from tests.cluster.test_rollout import Load
from tests.cluster.waits import until
from tests.doubles import ModelServer
from tests.fixtures.database import TestDatabase
from tests.fixtures.functions import says_user, serve, settings_for
from tests.knative.rendering import container, render, scaling, services
from tests.knative.schemas import faults

_DIGEST = "localhost:5000/agent-functions@sha256:" + "1" * 64


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    made = Bundle(tmp_path, Choice.of({"CLUSTER_IMAGE": _DIGEST, "CLUSTER_PYTHON_IMAGE": "python"}))
    made.write()
    return made


def test_all_that_is_applied_is_what_a_cluster_takes(bundle: Bundle) -> None:
    objects = [*render(bundle.world), *render(bundle.overlay)]
    assert not [fault for each in objects for fault in faults(each)]
    for service in services(objects).values():
        assert container(service)["image"] == _DIGEST
        assert scaling(service)["target"] == "2"
    images = [container(each)["image"] for each in objects if each["kind"] == "Deployment"]
    assert sorted(images) == ["postgres:17", "python"]


def test_other_settings_are_another_revision(bundle: Bundle) -> None:
    before = _settings(bundle)
    bundle.set(KEEP_ALIVE_SECONDS="14")
    after = _settings(bundle)
    assert before["metadata"]["name"] != after["metadata"]["name"]
    assert after["data"] == {**before["data"], "KEEP_ALIVE_SECONDS": "14"}
    assert before["data"]["GATEWAY_PUBLIC_KEYS"].startswith('{"keys": [{')


def _settings(bundle: Bundle) -> Json:
    [found] = [each for each in render(bundle.overlay) if each["kind"] == "ConfigMap"]
    return found


async def test_its_model_counts_for_the_functions(
    database: TestDatabase, model: ModelServer, counting: str
) -> None:
    async with serve(database, model, openai_base_url=counting) as agent:
        frames = await (await agent.person()).run(says_user("count 5 10"))
    assert "".join(each.get("delta", "") for each in frames) == "1 2 3 4 5"
    assert frames[-1]["type"] == "RUN_FINISHED"


@pytest.fixture
async def counting(tmp_path: Path, bundle: Bundle) -> AsyncIterator[str]:
    """The suite's model, running: its address."""
    port = free_port()
    script = bundle.world / "model.py"
    with Children(tmp_path / "logs") as children:
        children.start("model", [sys.executable, script, str(port)], env=dict(os.environ))
        await until(10, "the model listens", _is_there, f"http://127.0.0.1:{port}/")
        yield f"http://127.0.0.1:{port}/v1"


def _is_there(address: str) -> bool:
    try:
        return httpx.get(address).is_success
    except httpx.TransportError:
        return False


@dataclass
class Rehearsal(Bundle):
    """The bundle as processes of this machine, for tests that need no Knative."""

    children: dict[str, Child] = field(default_factory=dict)
    bases: dict[str, str] = field(default_factory=dict)
    owner_url: str = ""

    def sql(self, statement: str) -> str:
        async def ask() -> str:
            connection = await asyncpg.connect(self.owner_url)
            try:
                found = await connection.fetchval(statement)
            finally:
                await connection.close()
            return "" if found is None else str(found)

        return asyncio.run(ask())

    def kill(self, function: str) -> None:
        self.children[function].kill_and_start_again()

    def inside(self, script: str) -> str:
        here = script.replace("http://runner.agent-backend.svc.cluster.local", self.bases["runner"])
        return subprocess.run([sys.executable, "-c", here], capture_output=True, text=True).stdout

    def pods(self, function: str) -> list[Json]:
        return []

    def address(self, function: str) -> tuple[str, dict[str, str]]:
        return self.bases[function], {}


@pytest.fixture
async def rehearsal(
    tmp_path: Path, database: TestDatabase, model: ModelServer, counting: str
) -> AsyncIterator[Rehearsal]:
    made = Rehearsal(tmp_path, Choice("none"), owner_url=database.owner_url)
    with Children(tmp_path / "functions") as children:
        for name in ("agent", "threads", "runner"):
            port = free_port()
            made.bases[name] = f"http://127.0.0.1:{port}"
            more = {"openai_base_url": counting, "host": "127.0.0.1", "port": port}
            settings = settings_for(
                database, model, lease_seconds=1, lease_renew_seconds=0.2, **more
            )
            given = {
                k.upper(): str(v) for k, v in asdict(settings).items() if not isinstance(v, dict)
            }
            command = [sys.executable, "-m", "functions", name]
            environ = {**os.environ, **given}
            made.children[name] = children.start(name, command, env=environ)
        for base in made.bases.values():
            await until(20, "a function is ready", _is_there, f"{base}/readiness")
        yield made


async def test_its_survivals_on_processes_of_this_machine(rehearsal: Rehearsal) -> None:
    async with meeting(rehearsal) as meet:
        await test_survival.test_a_killed_pod_loses_nothing_once_its_client_comes_back(
            rehearsal, meet
        )
        await test_survival.test_a_sweep_finishes_what_a_killed_pod_left_and_nobody_asks_for(
            rehearsal, meet
        )


async def test_its_load_tells_what_went_wrong(rehearsal: Rehearsal) -> None:
    async with meeting(rehearsal) as meet:
        load = Load(await meet())
        async with load.going_on():
            await load.more(5)
            assert set(load.ended) == {"RUN_FINISHED"}
            rehearsal.children["agent"].stop()
            await load.more(10)
    assert set(load.ended) > {"RUN_FINISHED"}


def test_every_choice_is_documented() -> None:
    documented = (ROOT / "docs/cluster-test.md").read_text()
    for name in Choice.__dataclass_fields__:
        assert f"| `CLUSTER_{name.upper()}` |" in documented
