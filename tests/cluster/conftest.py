"""The bundle on the cluster that KUBECONFIG points to. docs/cluster-test.md."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.cluster.bundle import ClusterBundle
from tests.cluster.choice import Choice
from tests.cluster.eventing import through_a_broker
from tests.cluster.people import NewPerson, people_of

_MISSING = [name for name in ("KUBECONFIG", "CLUSTER_IMAGE") if not os.environ.get(name)]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without a cluster there is nothing to test."""
    here = Path(__file__).parent
    if _MISSING:
        skip = pytest.mark.skip(reason=f"needs a cluster: set {' and '.join(_MISSING)}")
        for item in items:
            if here in item.path.parents:
                item.add_marker(skip)


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterBundle]:
    """The bundle, deployed once for all tests; removed at the end, unless CLUSTER_KEEP says otherwise."""
    bundle = ClusterBundle(tmp_path_factory.mktemp("cluster"), Choice.of(os.environ))
    if foreign := bundle.is_foreign():
        pytest.exit(
            f"The namespace {foreign} is there, and not of this suite: use another cluster."
        )
    bundle.remove()
    bundle.write()
    bundle.install()
    yield bundle
    if not bundle.choice.keep:
        bundle.remove()


@pytest.fixture
async def new_person(bundle: ClusterBundle) -> AsyncIterator[NewPerson]:
    async with people_of(bundle) as new_person:
        yield new_person


@pytest.fixture
async def broker(bundle: ClusterBundle) -> AsyncIterator[None]:
    """Runs that wait go through a Broker, for the time of a test."""
    if not await asyncio.to_thread(bundle.has_eventing):
        pytest.skip("needs Knative Eventing: docs/cluster-test.md says how to install it")
    async with through_a_broker(bundle):
        yield
