"""A fake cluster on this machine, and `python -m knative` for it."""

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from knative.__main__ import main
from tests.fixtures.kubernetes import FIRST, KEYS, SECRETS, FakeCluster, Run, fake_cluster
from tests.knative.rendering import KEY, copied


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[FakeCluster]:
    with fake_cluster(tmp_path) as cluster:
        data = {key: base64.b64encode(_value(key).encode()).decode() for key in KEYS}
        cluster.put(SECRETS, {"kind": "Secret", "data": data})
        yield cluster


def _value(key: str) -> str:
    """A value that a function can use."""
    if key == "SUPABASE_DATABASE_URL":
        return "postgresql://agent_api:secret@db.example.com/postgres"
    return KEY.private_text if key.endswith("_SIGNING_KEY") else "secret"


@pytest.fixture
def run(cluster: FakeCluster) -> Iterator[Run]:
    """`python -m knative`. An overlay that is not named is `production` with keys."""
    with copied() as folder:
        production = str(folder / "overlays/production")

        def run(*arguments: str) -> int:
            command, *rest = arguments
            if command in ("deploy", "diff") and (not rest or rest[0].startswith("-")):
                rest = [production, *rest]
            return main(["--kubeconfig", str(cluster.kubeconfig), command, *rest])

        yield run


@pytest.fixture
def deployed(run: Run, capsys: pytest.CaptureFixture[str]) -> Run:
    """The same, with the bundle deployed."""
    assert run("deploy", "--image", FIRST) == 0
    capsys.readouterr()
    return run
