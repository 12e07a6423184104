"""Pods that stop gracefully while they hold runs: they start nothing new, and finish what they hold.

SIGTERM comes some 30 s after the deletion, so runs that are to see it take longer.
"""

import asyncio
from collections.abc import Sequence

from tests.cluster.bundle import ClusterBundle
from tests.cluster.people import NewPerson
from tests.cluster.runs import (
    RunBatch,
    assert_one_attempt,
    assert_whole,
    ended,
    holders,
    start_and_leave,
    streaming,
)
from tests.cluster.waits import until


async def clients_leave_and_all_pods_stop(
    bundle: ClusterBundle, new_person: NewPerson, runs: RunBatch
) -> None:
    """All clients have left, and the pods that hold the runs are deleted."""
    await start_and_leave(await new_person(), runs)
    pods = await holders(bundle, "assistant", runs)
    await asyncio.to_thread(bundle.delete, pods)
    await ended(bundle, runs, margin=30)
    await assert_one_attempt(bundle, runs)
    await _gone(bundle, pods)


async def all_pods_stop_under_streams(
    bundle: ClusterBundle, new_person: NewPerson, runs: RunBatch
) -> None:
    """The pods that hold the runs are deleted, and each client continues to read on its one connection."""
    async with streaming(await new_person(), runs) as streams:
        pods = await holders(bundle, "assistant", runs)
        await asyncio.to_thread(bundle.delete, pods)
    assert_whole(streams, runs)
    await assert_one_attempt(bundle, runs)
    await _gone(bundle, pods)


async def one_of_several_pods_stops_under_streams(
    bundle: ClusterBundle, new_person: NewPerson, first: RunBatch, then: RunBatch, *, pods: int
) -> None:
    """The first runs bring so many pods, over which Knative spreads the others; then one pod is deleted."""
    person = await new_person()
    async with streaming(person, first) as early:
        await until(90, f"{pods} pods", lambda: _count_ready(bundle) == pods)
        async with streaming(person, then) as late:
            holding = await holders(bundle, "assistant", then)
            assert len(holding) > 1, f"one pod got all streams: {holding}"
            await asyncio.to_thread(bundle.delete, holding[:1])
    for runs, streams in ((first, early), (then, late)):
        assert_whole(streams, runs)
        await assert_one_attempt(bundle, runs)
    await _gone(bundle, holding[:1])


async def a_background_run_ends_in_runner(
    bundle: ClusterBundle, new_person: NewPerson, runs: RunBatch
) -> None:
    """The runs are started in the background, and `assistant` dispatches them."""
    person = await new_person()
    for key in runs.keys:
        body = runs.body(key, forwardedProps={"background": True})
        assert (await person.request("POST", "/runs", body)).status_code == 202
    started = f"{runs.name} started in runner"
    # From zero, and a Broker may need a second try.
    await until(60, started, lambda: _started_in_runner(bundle) >= {*runs.keys})
    await ended(bundle, runs, margin=15)
    await assert_one_attempt(bundle, runs)


async def _gone(bundle: ClusterBundle, pods: Sequence[str]) -> None:
    """A pod goes when its last run has ended, long before its grace is over."""
    await until(60, f"{', '.join(pods)} went", bundle.are_gone, pods)


def _count_ready(bundle: ClusterBundle) -> int:
    return len([each for each in bundle.running("assistant").values() if each["ready"]])


def _started_in_runner(bundle: ClusterBundle) -> set[str]:
    return {key for keys in bundle.started_runs("runner").values() for key in keys}
