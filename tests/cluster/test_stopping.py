"""Pods are stopped gracefully, and every run ends in its first attempt."""

import pytest

from tests.cluster.bundle import ClusterBundle
from tests.cluster.people import NewPerson
from tests.cluster.runs import RunBatch
from tests.cluster.stops import (
    a_background_run_ends_in_runner,
    all_pods_stop_under_streams,
    clients_leave_and_all_pods_stop,
    one_of_several_pods_stops_under_streams,
)


async def test_a_deleted_pod_finishes_runs_whose_clients_have_left(
    bundle: ClusterBundle, new_person: NewPerson
) -> None:
    await clients_leave_and_all_pods_stop(
        bundle, new_person, RunBatch("left", count=6, seconds=150)
    )


async def test_deleted_pods_continue_their_streams_until_their_runs_have_ended(
    bundle: ClusterBundle, new_person: NewPerson
) -> None:
    await all_pods_stop_under_streams(
        bundle, new_person, RunBatch("streamed", count=24, seconds=120)
    )


async def test_the_deletion_of_one_of_several_pods_breaks_no_stream(
    bundle: ClusterBundle, new_person: NewPerson
) -> None:
    first, then = RunBatch("early", count=8, seconds=150), RunBatch("late", count=24, seconds=100)
    await one_of_several_pods_stops_under_streams(bundle, new_person, first, then, pods=4)


async def test_a_background_run_ends_in_runner(
    bundle: ClusterBundle, new_person: NewPerson
) -> None:
    await a_background_run_ends_in_runner(
        bundle, new_person, RunBatch("waiting", count=1, seconds=150)
    )


@pytest.mark.usefixtures("broker")
async def test_a_background_run_ends_in_runner_behind_a_broker(
    bundle: ClusterBundle, new_person: NewPerson
) -> None:
    await a_background_run_ends_in_runner(
        bundle, new_person, RunBatch("brokered", count=1, seconds=150)
    )
