"""What `python -m knative` shows of a cluster, what it never shows, and its errors without a cluster."""

import base64
import json
import signal
import subprocess
import sys
from io import StringIO
from pathlib import Path
from threading import Timer

import pytest
import yaml

from functions.output import UNREAD
from functions.registry import listed_functions
from knative.__main__ import main
from knative.rollout import Progress, State
from local.environment import ROOT
from shared.core.json import Json
from tests.fixtures.kubernetes import FIRST, SECOND, FakeCluster, Run, fake_cluster
from tests.knative.rendering import FOLDER, copied, render, scaling, services

_SPACE = "/api/v1/namespaces/agent-backend"


def _concurrency(function: str) -> str:
    """The target and the limit in its manifest."""
    service = services(render(FOLDER / "overlays/production"))[function]
    limit = service["spec"]["template"]["spec"]["containerConcurrency"]
    return f"{scaling(service)['target']}/{limit}"


def test_status_has_a_row_for_each_revision_with_traffic_and_for_the_last(
    deployed: Run, cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.controllers.bad_images[SECOND] = "cannot be pulled"
    deployed("deploy", "--image", SECOND)
    capsys.readouterr()
    assert deployed("status", "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    # The deploy ended with `runner`, the first function.
    names = listed_functions().names
    assert [row["service"] for row in rows] == sorted([*names, "runner"])
    new, old = (row for row in rows if row["service"] == "runner")
    assert new | {"replicas": ""} == {
        "service": "runner",
        "revision": "runner-00002",
        "ready": "no",
        "replicas": "",
        "traffic": "0%",
        "concurrency": _concurrency("runner"),
        "error": "cannot be pulled",
    }
    assert (old["ready"], old["replicas"], old["traffic"]) == ("yes", "1/1", "100%")
    assert deployed("status") == 0
    table = capsys.readouterr().out.splitlines()
    assert table[0].split() == [
        *("service", "revision", "ready", "replicas", "traffic", "concurrency", "last", "error"),
    ]
    assert table[1].split() == [
        "assistant",
        "assistant-00001",
        "yes",
        "1/1",
        "100%",
        _concurrency("assistant"),
    ]


def test_status_before_the_first_deploy_is_empty(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("status", "--json") == 0
    assert capsys.readouterr().out == "[]\n"


def test_diff_shows_what_deploy_would_change_and_changes_nothing(
    deployed: Run, cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    before = json.dumps(cluster.objects)
    capsys.readouterr()
    assert deployed("diff", "--image", FIRST, "--exit-code") == 0
    assert capsys.readouterr().out == ""
    assert deployed("diff", "--image", SECOND, "--exit-code") == 1
    output = capsys.readouterr().out.splitlines()
    assert f"-        image: {FIRST}" in output
    assert f"+        image: {SECOND}" in output
    assert not [line for line in output if "managedFields" in line or "resourceVersion" in line]
    assert json.dumps(cluster.objects) == before


_SENTENCE = "Set SUPABASE_URL; docs/configuration.md says to what."


def test_diff_is_empty_after_each_deploy(deployed: Run, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ((), ("--canary", "10")):
        assert deployed("deploy", "--image", SECOND, *arguments) == 0
        capsys.readouterr()
        assert deployed("diff", "--image", SECOND, *arguments, "--exit-code") == 0
        assert capsys.readouterr().out == ""


def test_diff_shows_a_value_that_becomes_the_default(
    deployed: Run, cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    [container] = cluster.service("tools")["spec"]["template"]["spec"]["containers"]
    container["livenessProbe"]["failureThreshold"] = 7
    assert deployed("diff", "--image", FIRST) == 0
    assert "-          failureThreshold: 7" in capsys.readouterr().out.splitlines()


def test_a_reader_of_diff_that_ends_early_is_no_error(cluster: FakeCluster) -> None:
    command = [sys.executable, "-m", "knative", "--kubeconfig", str(cluster.kubeconfig), "diff"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.close()
        assert process.stderr
        assert process.stderr.read() == b""
    assert process.returncode == UNREAD


def test_diff_of_an_empty_cluster_is_everything(
    run: Run, cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("diff") == 0
    output = capsys.readouterr().out
    assert "Namespace agent-backend\n" in output
    assert "Service runner\n" in output
    assert not cluster.applied


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
        cluster.controllers.bad_images[FIRST] = "no"
    assert deployed("status") == 0
    output = "".join(capsys.readouterr())
    assert "+  K: (hidden), changed" in output
    assert not [word for word in (old, new, "plain", "yesterday", "today") if word in output]


@pytest.fixture
def pods(cluster: FakeCluster) -> None:
    """Two pods of `assistant`."""
    for name in ("agent-1", "agent-2"):
        labels = {"serving.knative.dev/service": "assistant"}
        cluster.put(f"{_SPACE}/pods/{name}", {"metadata": {"name": name, "labels": labels}})
        cluster.logs[name] = ["one", "two"]


@pytest.mark.usefixtures("pods")
@pytest.mark.parametrize("follow", [(), ("--follow",)])
def test_logs_are_of_the_functions_container_in_every_pod(
    run: Run, cluster: FakeCluster, follow: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.pods_end.set()
    assert run("logs", "assistant", *follow) == 0
    output = capsys.readouterr().out.splitlines()
    assert sorted(output) == ["agent-1 one", "agent-1 two", "agent-2 one", "agent-2 two"]


@pytest.mark.usefixtures("pods")
def test_followed_logs_come_from_all_pods_at_once_and_end_with_ctrl_c(
    cluster: FakeCluster,
) -> None:
    command = [sys.executable, "-m", "knative", "--kubeconfig", str(cluster.kubeconfig)]
    with subprocess.Popen(
        [*command, "logs", "assistant", "--follow"], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        assert process.stdout
        # Reading has no time-out of its own.
        (give_up := Timer(30, process.kill)).start()
        try:
            lines = [process.stdout.readline() for _ in range(4)]
            process.send_signal(signal.SIGINT)
            assert process.wait() == 130
        finally:
            give_up.cancel()
            process.kill()
    assert sorted(lines) == [f"agent-{pod} {text}\n" for pod in (1, 2) for text in ("one", "two")]


def test_a_function_without_a_pod_has_no_logs(
    deployed: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert deployed("logs", "assistant") == 1
    assert "assistant has no pod" in capsys.readouterr().err


def test_a_function_that_is_not_deployed_has_no_logs(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("logs", "assistant") == 1
    assert capsys.readouterr().err == "'assistant' is not deployed in agent-backend.\n"


def test_status_shows_what_the_containers_of_a_revision_that_is_not_ready_do(
    deployed: Run, cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.controllers.stuck.add("tools")
    assert deployed("deploy", "--image", SECOND, "--timeout", "1") == 1
    cluster.put_exited_pod("tools", 3, f"one more line\n{_SENTENCE}\n")
    capsys.readouterr()
    assert deployed("status", "--json") == 0
    rows = {row["revision"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["tools-00002"]["ready"] == "..."
    why = f"exited with 1 (CrashLoopBackOff): {_SENTENCE}; 3 exits"
    assert rows["tools-00002"]["error"] == why
    assert not rows["tools-00001"]["error"]


def test_invoke_goes_through_an_ingress_by_the_functions_name(
    deployed: Run, cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    address = yaml.safe_load(cluster.kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
    assert deployed("invoke", "assistant", f"{_SPACE}", "--address", address) == 0
    output = capsys.readouterr()
    assert cluster.hosts[-1] == "assistant.agent-backend.example.com"
    assert json.loads(output.out)["kind"] == "Namespace"
    assert output.err == "200 OK\n"
    assert deployed("invoke", "assistant", "/nowhere", "--address", address) == 1
    assert deployed("invoke", "tools", "--address", address) == 1
    assert "tools has no address outside the cluster" in capsys.readouterr().err


def test_without_a_kubeconfig_the_error_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "nowhere"))
    assert main(["status"]) == 1
    output = capsys.readouterr().err
    assert output.startswith("There is no kubeconfig at ")
    assert output.count("\n") == 1


@pytest.mark.parametrize(
    "text", ["", "[]", "a: [", "current-context: x\nclusters: []\ncontexts: []"]
)
def test_an_invalid_kubeconfig_is_reported(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config").write_text(text)
    assert main(["--kubeconfig", str(tmp_path / "config"), "status"]) == 1
    assert "cannot be used as a kubeconfig" in capsys.readouterr().err


def test_a_cluster_without_knative_is_reported(
    run: Run, cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.has_knative = False
    assert run("status") == 1
    assert "Is Knative installed?" in capsys.readouterr().err


def test_an_unreachable_cluster_is_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with fake_cluster(tmp_path) as gone:
        pass
    assert main(["--kubeconfig", str(gone.kubeconfig), "status"]) == 1
    assert "The cluster cannot be reached at http" in capsys.readouterr().err


def test_an_unreachable_cluster_hides_no_fault_of_the_overlay(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with fake_cluster(tmp_path) as gone:
        pass
    assert main(["--kubeconfig", str(gone.kubeconfig), "diff", "production"]) == 1
    said = capsys.readouterr().err
    assert said.index("SUPABASE_URL must be") < said.index("The cluster cannot be reached")


class _Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_a_line_a_function_and_draws_it_again() -> None:
    progress = Progress(out := _Terminal())
    services: dict[str, Json] = {"assistant": {}, "threads": {}}
    progress.show(services, {name: State(None, "waiting") for name in services})
    progress.show(services, {"assistant": State(True, "ready"), "threads": State(None, "x" * 200)})
    first, _, second = out.getvalue().partition("\x1b[2A")
    assert first.count("waiting\n") == 2
    assert "assistant  -                  ready\n" in second
    assert max(map(len, second.split("\x1b[2K"))) <= 101
