"""A fake cluster on this machine, and `python -m knative` for it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from knative.__main__ import main
from tests.fixtures.kubernetes import FIRST, KEYS, SECRETS, FakeCluster, Run, fake_cluster


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[FakeCluster]:
    with fake_cluster(tmp_path) as cluster:
        cluster.put(SECRETS, {"kind": "Secret", "data": dict.fromkeys(KEYS, "c2VjcmV0")})
        yield cluster


@pytest.fixture
def run(cluster: FakeCluster) -> Run:
    return lambda *arguments: main(["--kubeconfig", str(cluster.kubeconfig), *arguments])


@pytest.fixture
def deployed(run: Run, capsys: pytest.CaptureFixture[str]) -> Run:
    """The same, with the bundle deployed."""
    assert run("deploy", "--image", FIRST) == 0
    capsys.readouterr()
    return run
