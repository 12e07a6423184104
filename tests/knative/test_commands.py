"""`python -m knative` against a cluster of this machine's own: the commands, the client library and HTTP are real."""

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from knative.__main__ import main
from shared.contracts import Json
from tests.fixtures.kubernetes import FakeCluster, fake_cluster
from tests.knative.rendering import FOLDER, copied

FIRST, SECOND = (f"registry.example.com/agent-functions@sha256:{digit * 64}" for digit in "12")
_SPACE = "/api/v1/namespaces/agent-backend"
_OLD = [{"revisionName": "agent-00001", "latestRevision": True, "percent": 100}]

Run = Callable[..., int]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[FakeCluster]:
    with fake_cluster(tmp_path) as cluster:
        yield cluster


@pytest.fixture
def run(cluster: FakeCluster) -> Run:
    return lambda *arguments: main(["--kubeconfig", str(cluster.kubeconfig), *arguments])


@pytest.fixture
def deployed(run: Run, capsys: pytest.CaptureFixture[str]) -> Run:
    """The same, on a cluster that has the bundle."""
    assert run("deploy", "--image", FIRST) == 0
    capsys.readouterr()
    return run


def test_deploy_waits_for_every_function_and_says_where_they_are(
    run: Run, cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("deploy", "--image", FIRST) == 0
    said = capsys.readouterr().out.splitlines()
    assert cluster.applied[0]["kind"] == "Namespace"
    for function in ("agent", "threads", "tools", "runner"):
        assert f"{function:<10} -                  not seen by Knative yet" in said
        assert (
            f"{function:<10} {function}-00001        ready".replace(
                f"{function}-00001        ", f"{function + '-00001':<18} "
            )
            in said
        )
    assert "agent      https://agent.agent-backend.example.com" in said
    assert "runner     inside the cluster only" in said
    assert said[-1] == "FASTAPI_ORIGIN_URL=https://{function}.agent-backend.example.com"


def test_a_second_deploy_of_the_same_makes_no_revision(deployed: Run, cluster: FakeCluster) -> None:
    assert deployed("deploy", "--image", FIRST) == 0
    assert cluster.service("agent")["status"]["latestCreatedRevisionName"] == "agent-00001"


def test_every_container_of_the_bundle_gets_the_image(
    run: Run, cluster: FakeCluster, tmp_path: Path
) -> None:
    with copied() as folder:
        path = folder / "overlays/production/kustomization.yaml"
        overlay = yaml.safe_load(path.read_text())
        overlay["components"].append("../../components/cronjob-sweep")
        path.write_text(yaml.safe_dump(overlay))
        assert run("deploy", str(path.parent), "--image", SECOND) == 0
    [job] = [each for each in cluster.applied if each["kind"] == "CronJob"]
    template = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    services = [each for each in cluster.applied if each["kind"] == "Service"]
    specs = [template, *(each["spec"]["template"]["spec"] for each in services)]
    assert {each["containers"][0]["image"] for each in specs} == {SECOND}
    assert len(specs) == 5


@pytest.mark.parametrize("image", ["x/agent-functions", "x/agent-functions:latest", "x@sha256:12"])
def test_an_image_that_names_no_single_build_is_refused(
    run: Run, cluster: FakeCluster, image: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("deploy", "--image", image) == 1
    assert "names no single build" in capsys.readouterr().err
    assert not cluster.applied


def test_a_bad_image_leaves_the_traffic_where_it_was_and_says_why(
    deployed: Run, cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    why = 'Unable to fetch image: "manifest unknown"'
    cluster.bad_images[SECOND] = why
    assert deployed("deploy", "--image", SECOND) == 1
    told = capsys.readouterr().err
    assert f'agent: failed: Revision "agent-00002" failed with message: {why}.' in told
    assert cluster.service("agent")["status"]["traffic"] == _OLD
    # A rollback holds it there, also should the image turn up.
    assert deployed("promote") == 1
    assert "agent: agent-00002 is not ready" in capsys.readouterr().err
    assert _traffic(cluster) == [{"latestRevision": True, "percent": 100}]


def test_a_function_that_gets_nowhere_is_given_up_on_with_what_it_waits_for(
    run: Run, cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.stuck.add("tools")
    assert run("deploy", "--timeout", "1") == 1
    assert capsys.readouterr().err == "tools: not ready after 1 s: OutOfDate\n"


def test_a_canary_gets_its_share_and_the_rest_stays(deployed: Run, cluster: FakeCluster) -> None:
    assert deployed("deploy", "--image", SECOND, "--canary", "10") == 0
    split = [
        {"revisionName": "agent-00001", "percent": 90},
        {"latestRevision": True, "percent": 10},
    ]
    assert _traffic(cluster) == split
    third = SECOND.replace("2" * 64, "3" * 64)
    # The next canary stands against what serves, and not against the canary before it.
    assert deployed("deploy", "--image", third, "--canary", "25") == 0
    assert _traffic(cluster)[0] == {"revisionName": "agent-00001", "percent": 75}


def test_a_first_canary_is_all_there_is(run: Run, cluster: FakeCluster) -> None:
    assert run("deploy", "--image", FIRST, "--canary", "10") == 0
    assert _traffic(cluster) == [{"latestRevision": True, "percent": 100}]


def test_promote_gives_the_canary_everything(
    deployed: Run, cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    deployed("deploy", "--image", SECOND, "--canary", "10")
    assert deployed("promote") == 0
    assert "agent: 100% agent-00002" in capsys.readouterr().out
    assert _traffic(cluster) == [{"latestRevision": True, "percent": 100}]


@pytest.mark.parametrize("canary", [(), ("--canary", "10")])
def test_rollback_goes_to_what_served_before_the_last_deploy(
    deployed: Run, cluster: FakeCluster, canary: tuple[str, ...]
) -> None:
    deployed("deploy", "--image", SECOND, *canary)
    assert deployed("rollback") == 0
    assert _traffic(cluster) == [{"revisionName": "agent-00001", "percent": 100}]
    assert deployed("rollback") == 0
    assert _traffic(cluster) == [{"revisionName": "agent-00001", "percent": 100}]


def test_rollback_to_a_revision_is_of_one_function(
    deployed: Run, cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    deployed("deploy", "--image", SECOND)
    assert deployed("rollback", "--to", "agent-00001") == 1
    assert deployed("rollback", "agent", "--to", "agent-00001") == 0
    assert _traffic(cluster) == [{"revisionName": "agent-00001", "percent": 100}]
    assert _traffic(cluster, "threads") == [{"latestRevision": True, "percent": 100}]
    capsys.readouterr()
    assert deployed("rollback", "agent", "--to", "agent-00009") == 1
    assert '"agent-00009" referenced in traffic not found' in capsys.readouterr().err


def test_rollback_after_the_first_deploy_has_nowhere_to_go(
    deployed: Run, cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    assert deployed("rollback") == 1
    assert "nothing served before its last deploy" in capsys.readouterr().err
    assert _traffic(cluster) == [{"latestRevision": True, "percent": 100}]


def test_status_has_a_row_for_each_revision_with_traffic_and_for_the_last(
    deployed: Run, cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.bad_images[SECOND] = "cannot be pulled"
    deployed("deploy", "--image", SECOND)
    capsys.readouterr()
    assert deployed("status", "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == 8
    new, old = rows[:2]
    assert new | {"replicas": ""} == {
        "service": "agent",
        "revision": "agent-00002",
        "ready": "no",
        "replicas": "",
        "traffic": "0%",
        "concurrency": "80/100",
        "error": "cannot be pulled",
    }
    assert (old["ready"], old["replicas"], old["traffic"]) == ("yes", "1/1", "100%")
    assert deployed("status") == 0
    table = capsys.readouterr().out.splitlines()
    assert table[0].split() == [
        *("service", "revision", "ready", "replicas", "traffic", "concurrency", "last", "error"),
    ]
    assert table[2].split() == ["agent", "agent-00001", "yes", "1/1", "100%", "80/100"]


def test_status_before_the_first_deploy_is_empty(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("status", "--json") == 0
    assert capsys.readouterr().out == "[]\n"


def test_diff_shows_what_deploy_would_change_and_changes_nothing(
    deployed: Run, cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    deployed("deploy", "--image", FIRST)
    before = json.dumps(cluster.objects)
    capsys.readouterr()
    assert deployed("diff", "--image", FIRST, "--exit-code") == 0
    assert capsys.readouterr().out == ""
    assert deployed("diff", "--image", SECOND, "--exit-code") == 1
    said = capsys.readouterr().out.splitlines()
    assert f"-        image: {FIRST}" in said
    assert f"+        image: {SECOND}" in said
    assert not [line for line in said if "managedFields" in line or "resourceVersion" in line]
    assert json.dumps(cluster.objects) == before


def test_diff_of_an_empty_cluster_is_everything(
    run: Run, cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("diff") == 0
    said = capsys.readouterr().out
    assert "Namespace agent-backend\n" in said
    assert "Service runner\n" in said
    assert not cluster.objects


def test_the_values_of_a_secret_are_never_shown(
    deployed: Run, cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = (base64.b64encode(word).decode() for word in (b"yesterday's", b"today's"))
    secret: Json = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "more"}}
    applied = {"kubectl.kubernetes.io/last-applied-configuration": json.dumps({"data": {"K": old}})}
    live = {**secret, "metadata": {"name": "more", "annotations": applied}, "data": {"K": old}}
    cluster.put(f"{_SPACE}/secrets/more", live)
    secret["metadata"]["namespace"] = "agent-backend"
    with copied() as folder:
        overlay = folder / "overlays/production"
        made = {**secret, "data": {"K": new}, "stringData": {"L": "plain"}}
        (overlay / "secret.yaml").write_text(yaml.safe_dump(made))
        kustomization = yaml.safe_load((overlay / "kustomization.yaml").read_text())
        kustomization["resources"].append("secret.yaml")
        (overlay / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
        for command in ("diff", "deploy"):
            assert deployed(command, str(overlay)) == 0
        cluster.bad_images[FIRST] = "no"
    assert deployed("status") == 0
    said = "".join(capsys.readouterr())
    assert "+  K: (hidden), another one" in said
    assert not [word for word in (old, new, "plain", "yesterday", "today") if word in said]


def test_logs_are_of_the_functions_container_in_every_pod(
    deployed: Run, cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    assert deployed("logs", "agent") == 1
    assert "agent has no pod" in capsys.readouterr().err
    for name in ("agent-1", "agent-2"):
        labels = {"serving.knative.dev/service": "agent"}
        cluster.put(f"{_SPACE}/pods/{name}", {"metadata": {"name": name, "labels": labels}})
        cluster.logs[name] = ["one", "two"]
    for follow in ([], ["--follow"]):
        assert deployed("logs", "agent", *follow) == 0
        said = capsys.readouterr().out.splitlines()
        assert sorted(said) == ["agent-1 one", "agent-1 two", "agent-2 one", "agent-2 two"]


def test_invoke_goes_through_an_ingress_by_the_functions_name(
    deployed: Run, cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    address = yaml.safe_load(cluster.kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
    assert deployed("invoke", "agent", f"{_SPACE}", "--address", address) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["kind"] == "Namespace"
    assert said.err == "200 OK\n"
    assert deployed("invoke", "agent", "/nowhere", "--address", address) == 1
    assert deployed("invoke", "tools", "--address", address) == 1
    assert "tools has no address outside the cluster" in capsys.readouterr().err


def test_without_a_kubeconfig_there_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "nowhere"))
    assert main(["status"]) == 1
    told = capsys.readouterr().err
    assert told.startswith("No cluster is chosen: ")
    assert told.count("\n") == 1


@pytest.mark.parametrize(
    "text", ["", "[]", "a: [", "current-context: x\nclusters: []\ncontexts: []"]
)
def test_a_kubeconfig_that_is_none_is_told(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config").write_text(text)
    assert main(["--kubeconfig", str(tmp_path / "config"), "status"]) == 1
    assert "cannot be used as a kubeconfig" in capsys.readouterr().err


def test_a_cluster_without_knative_is_told(
    run: Run, cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.has_knative = False
    assert run("status") == 1
    assert "Is Knative installed?" in capsys.readouterr().err


def test_a_cluster_that_is_gone_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with fake_cluster(tmp_path) as gone:
        pass
    assert main(["--kubeconfig", str(gone.kubeconfig), "status"]) == 1
    assert "The cluster cannot be reached" in capsys.readouterr().err


def test_an_object_that_the_cluster_refuses_is_named(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    with copied() as folder:
        path = folder / "base/agent.yaml"
        path.write_text(path.read_text().replace("idleTimeoutSeconds", "idleSeconds"))
        assert run("deploy", str(folder / "overlays/production")) == 1
    assert "Service agent: " in capsys.readouterr().err


def test_an_overlay_that_is_none_is_told(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("deploy", "staging") == 1
    assert capsys.readouterr().err == (
        "'staging' is no overlay: local, production, or a folder of your own.\n"
    )
    assert (FOLDER / "overlays/local").is_dir()


def test_names_of_ones_own_are_the_origin(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    with copied() as folder:
        path = folder / "overlays/production/kustomization.yaml"
        overlay = yaml.safe_load(path.read_text())
        overlay["components"].append("../../components/domain-mapping")
        path.write_text(yaml.safe_dump(overlay))
        assert run("deploy", str(path.parent)) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[-1] == "FASTAPI_ORIGIN_URL=https://{function}.functions.example.com"


def _traffic(cluster: FakeCluster, function: str = "agent") -> list[Json]:
    block: list[Json] = cluster.service(function)["spec"]["traffic"]
    return block
