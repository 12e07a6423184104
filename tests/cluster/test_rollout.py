"""Revisions come and go under load, without an error for any client."""

import asyncio

from tests.cluster.bundle import ClusterBundle
from tests.cluster.load import Load
from tests.cluster.people import NewPerson
from tests.cluster.revisions import deploy, do, serving
from tests.cluster.runs import RunBatch, assert_one_attempt, assert_whole, streaming
from tests.fixtures.functions import run_input


async def test_a_canary_is_promoted_and_rolled_back_without_an_error(
    bundle: ClusterBundle, new_person: NewPerson
) -> None:
    before = await serving(bundle)
    bundle.set(KEEP_ALIVE_SECONDS="14")
    load = Load(await new_person())
    async with load.going_on():
        await do(bundle, "deploy", str(bundle.overlay), "--canary", "50")
        shares = await serving(bundle)
        assert sorted(shares.values()) == ["50%", "50%"]
        assert shares.keys() > before.keys()
        # Both answer, on one schema.
        await load.more(40)
        await do(bundle, "promote")
        assert await serving(bundle) == {(shares.keys() - before.keys()).pop(): "100%"}
        await load.more(10)
        await do(bundle, "rollback")
        assert await serving(bundle) == before
        await load.more(10)
    assert set(load.ended) == {"RUN_FINISHED"}


async def test_a_bad_image_leaves_the_serving_revision_and_deploy_reports_why(
    bundle: ClusterBundle, new_person: NewPerson
) -> None:
    before = await serving(bundle)
    image = "registry.invalid/agent-functions:none"
    done = await asyncio.to_thread(bundle.knative, "deploy", str(bundle.overlay), "--image", image)
    assert done.returncode == 1
    assert "assistant: failed: " in done.stderr
    assert await serving(bundle) == before
    frames = await (await new_person()).run(run_input("hello", run="after"))
    assert frames[-1]["type"] == "RUN_FINISHED"
    # For later tests, which expect all functions ready.
    await deploy(bundle)


async def test_a_rollout_cuts_no_open_stream(bundle: ClusterBundle, new_person: NewPerson) -> None:
    before = await serving(bundle)
    runs = RunBatch("rollout", count=10, seconds=120)
    async with streaming(await new_person(), runs) as streams:
        bundle.set(KEEP_ALIVE_SECONDS="13")
        await deploy(bundle)
        assert (await serving(bundle)).keys().isdisjoint(before)
        assert not [each for each in streams if each.done()]
    assert_whole(streams, runs)
    await assert_one_attempt(bundle, runs)
