"""Processes die without a warning, and nothing is lost."""

from tests.cluster.bundle import ClusterBundle
from tests.cluster.kills import a_client_returns_to_a_killed_run, a_sweep_finishes_a_killed_run
from tests.cluster.people import NewPerson


async def test_a_run_of_a_killed_pod_is_finished_once_its_client_reconnects(
    bundle: ClusterBundle, new_person: NewPerson
) -> None:
    await a_client_returns_to_a_killed_run(bundle, new_person)


async def test_a_sweep_finishes_a_run_that_a_killed_pod_left_and_no_client_reads(
    bundle: ClusterBundle, new_person: NewPerson
) -> None:
    await a_sweep_finishes_a_killed_run(bundle, new_person)
