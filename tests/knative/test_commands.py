"""`python -m knative` against a fake cluster on this machine: the commands, the client library and HTTP are real."""

import pytest
import yaml

from functions.registry import listed_functions
from tests.fixtures.kubernetes import FIRST, SECOND, SECRETS, FakeCluster, Run, traffic_of
from tests.knative.rendering import copied


def test_deploy_waits_for_every_function_and_prints_their_addresses(
    run: Run, cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("deploy", "--image", FIRST) == 0
    lines = capsys.readouterr().out.splitlines()
    assert cluster.applied[0]["kind"] == "Namespace"
    for function in listed_functions().names:
        assert f"{function:<10} -                  not seen by Knative yet" in lines
        assert f"{function:<10} {function + '-00001':<18} ready" in lines
    assert "assistant  https://assistant.agent-backend.example.com" in lines
    assert "runner     inside the cluster only" in lines
    assert lines[-1] == "FASTAPI_ORIGIN_URL=https://{function}.agent-backend.example.com"


def test_a_second_deploy_of_the_same_makes_no_revision(deployed: Run, cluster: FakeCluster) -> None:
    assert deployed("deploy", "--image", FIRST) == 0
    assert cluster.service("assistant")["status"]["latestCreatedRevisionName"] == "assistant-00001"


def test_every_container_of_the_bundle_gets_the_image(run: Run, cluster: FakeCluster) -> None:
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
    assert len(specs) == 1 + len(listed_functions().names)


@pytest.mark.parametrize("image", ["x/agent-functions", "x/agent-functions:latest", "x@sha256:12"])
def test_an_image_that_names_no_single_build_is_refused(
    run: Run, cluster: FakeCluster, image: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("deploy", "--image", image) == 1
    assert "names no single build" in capsys.readouterr().err
    assert not cluster.applied


def test_a_bad_image_leaves_the_traffic_and_the_reason_is_printed(
    deployed: Run, cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    why = 'Unable to fetch image: "manifest unknown"'
    cluster.controllers.bad_images[SECOND] = why
    assert deployed("deploy", "--image", SECOND) == 1
    output = capsys.readouterr().err
    assert f'runner: failed: Revision "runner-00002" failed with message: {why}.' in output
    old = {"revisionName": "runner-00001", "latestRevision": True, "percent": 100}
    assert cluster.service("runner")["status"]["traffic"] == [old]
    assert deployed("promote") == 1
    assert "runner: runner-00002 is not ready" in capsys.readouterr().err
    assert traffic_of(cluster) == [{"latestRevision": True, "percent": 100}]


def test_rollback_of_a_failed_revision_keeps_the_serving_one(
    deployed: Run, cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.controllers.bad_images[SECOND] = "cannot be pulled"
    deployed("deploy", "--image", SECOND)
    # This holds even if the image appears later.
    assert deployed("rollback") == 0
    assert "runner: 100% runner-00001" in capsys.readouterr().out
    # Also where the deploy got no further.
    for name in ("runner", "assistant"):
        serving = [{"revisionName": f"{name}-00001", "percent": 100}]
        assert traffic_of(cluster, name) == serving


def test_a_missing_secret_is_reported_before_anything_is_applied(
    run: Run, cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    del cluster.objects[SECRETS]["data"]["OPENAI_API_KEY"]
    assert run("deploy") == 1
    assert capsys.readouterr().err.startswith("OPENAI_API_KEY of Secret backend-secrets: missing")
    del cluster.objects[SECRETS]
    assert run("deploy") == 1
    assert capsys.readouterr().err.startswith("Secret backend-secrets: missing in agent-backend")
    assert not cluster.applied


def test_a_condition_that_is_false_for_a_moment_is_no_failure(
    run: Run, cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.controllers.stumbling.add("tools")
    assert run("deploy") == 0
    assert "0/1 nodes are available" in capsys.readouterr().out


def test_deploy_gives_up_on_a_stuck_function_and_prints_what_it_waits_for(
    run: Run, cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.controllers.stuck.add("tools")
    assert run("deploy", "--timeout", "1") == 1
    assert capsys.readouterr().err == "tools: not ready after 1 s: OutOfDate\n"


@pytest.mark.parametrize("has_message", [True, False])
def test_a_container_that_exits_again_ends_the_deploy_with_its_last_line(
    run: Run, cluster: FakeCluster, has_message: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    line = "Set SUPABASE_URL; docs/configuration.md says to what."
    cluster.controllers.exiting["tools"] = f"something else\n{line}\n" if has_message else ""
    cluster.logs["tools-00001-pod"] = [line]
    assert run("deploy") == 1
    output = capsys.readouterr()
    assert output.err == f"tools: exited with 1 (CrashLoopBackOff): {line}\n"
    # The first exit is shown, and ends nothing: a dependency may have been late.
    assert cluster.controllers.exits["tools-00001"] == 2
    assert f"tools      tools-00001        exited with 1 (CrashLoopBackOff): {line}" in output.out


def test_exits_of_older_revisions_do_not_end_a_deploy(deployed: Run, cluster: FakeCluster) -> None:
    cluster.put_exited_pod("tools", 5, "")
    assert deployed("deploy", "--image", SECOND) == 0


def test_a_canary_gets_its_share_and_the_rest_stays(deployed: Run, cluster: FakeCluster) -> None:
    assert deployed("deploy", "--image", SECOND, "--canary", "10") == 0
    split = [
        {"revisionName": "assistant-00001", "percent": 90},
        {"latestRevision": True, "percent": 10},
    ]
    assert traffic_of(cluster) == split
    # All of `runner` is new: it must know the agents of the canary.
    assert traffic_of(cluster, "runner") == [{"latestRevision": True, "percent": 100}]
    third = SECOND.replace("2" * 64, "3" * 64)
    # The next canary is compared with the serving revision, not with the canary before it.
    assert deployed("deploy", "--image", third, "--canary", "25") == 0
    assert traffic_of(cluster)[0] == {"revisionName": "assistant-00001", "percent": 75}


@pytest.mark.parametrize("more", [(), ("--canary", "10")])
def test_a_rolled_back_revision_gets_no_traffic_from_the_next_deploy(
    deployed: Run, cluster: FakeCluster, more: tuple[str, ...]
) -> None:
    deployed("deploy", "--image", SECOND)
    deployed("rollback")
    third = SECOND.replace("2" * 64, "3" * 64)
    cluster.controllers.bad_images[third] = "cannot be pulled"
    assert deployed("deploy", "--image", third, *more) == 1
    assert traffic_of(cluster) == [{"revisionName": "assistant-00001", "percent": 100}]
    cluster.controllers.bad_images.clear()
    assert deployed("deploy", "--image", FIRST, *more) == 0
    assert traffic_of(cluster)[-1] == {"latestRevision": True, "percent": 10 if more else 100}
    assert "assistant-00002" not in str(cluster.service("assistant")["status"]["traffic"])


def test_a_first_canary_gets_all_traffic(run: Run, cluster: FakeCluster) -> None:
    assert run("deploy", "--image", FIRST, "--canary", "10") == 0
    assert traffic_of(cluster) == [{"latestRevision": True, "percent": 100}]


def test_promote_gives_the_canary_everything(
    deployed: Run, cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    deployed("deploy", "--image", SECOND, "--canary", "10")
    assert deployed("promote") == 0
    assert "assistant: 100% assistant-00002" in capsys.readouterr().out
    assert traffic_of(cluster) == [{"latestRevision": True, "percent": 100}]


@pytest.mark.parametrize("canary", [(), ("--canary", "10")])
def test_rollback_returns_to_the_revision_before_the_last_deploy(
    deployed: Run, cluster: FakeCluster, canary: tuple[str, ...]
) -> None:
    deployed("deploy", "--image", SECOND, *canary)
    assert deployed("rollback") == 0
    assert traffic_of(cluster) == [{"revisionName": "assistant-00001", "percent": 100}]
    assert deployed("rollback") == 0
    assert traffic_of(cluster) == [{"revisionName": "assistant-00001", "percent": 100}]


def test_a_repeated_deploy_is_not_what_rollback_returns_to(
    deployed: Run, cluster: FakeCluster
) -> None:
    for _ in range(2):
        assert deployed("deploy", "--image", SECOND) == 0
    assert deployed("rollback", "assistant") == 0
    assert traffic_of(cluster) == [{"revisionName": "assistant-00001", "percent": 100}]


def test_rollback_to_a_revision_is_of_one_function(
    deployed: Run, cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    deployed("deploy", "--image", SECOND)
    assert deployed("rollback", "--to", "assistant-00001") == 1
    assert deployed("rollback", "assistant", "--to", "assistant-00001") == 0
    assert traffic_of(cluster) == [{"revisionName": "assistant-00001", "percent": 100}]
    assert traffic_of(cluster, "threads") == [{"latestRevision": True, "percent": 100}]
    capsys.readouterr()
    assert deployed("rollback", "assistant", "--to", "assistant-00009") == 1
    assert '"assistant-00009" referenced in traffic not found' in capsys.readouterr().err


def test_rollback_after_the_first_deploy_has_nowhere_to_go(
    deployed: Run, cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    assert deployed("rollback") == 1
    assert "nothing served before its last deploy" in capsys.readouterr().err
    assert traffic_of(cluster) == [{"latestRevision": True, "percent": 100}]


def test_an_object_that_the_cluster_refuses_is_named(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    with copied() as folder:
        path = folder / "base/threads.yaml"
        path.write_text(path.read_text().replace("idleTimeoutSeconds", "idleSeconds"))
        assert run("deploy", str(folder / "overlays/production")) == 1
    assert "Service threads: " in capsys.readouterr().err


def test_an_invalid_overlay_is_reported(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("deploy", "staging") == 1
    assert capsys.readouterr().err == (
        "'staging' is no overlay: local, production, or a folder of your own.\n"
    )


def test_custom_host_names_are_printed_as_the_origin(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    with copied() as folder:
        path = folder / "overlays/production/kustomization.yaml"
        overlay = yaml.safe_load(path.read_text())
        overlay["components"].append("../../components/domain-mapping")
        path.write_text(yaml.safe_dump(overlay))
        assert run("deploy", str(path.parent)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "FASTAPI_ORIGIN_URL=https://{function}.functions.example.com"


def test_runner_is_updated_before_all_other_functions(run: Run, cluster: FakeCluster) -> None:
    assert run("deploy", "--image", FIRST) == 0
    names = [each["metadata"]["name"] for each in cluster.applied if each["kind"] == "Service"]
    assert names[0] == "runner"
    assert sorted(names) == sorted(listed_functions().names)
    others = [each["kind"] for each in cluster.applied if each["kind"] != "Service"]
    assert {"Namespace", "ConfigMap", "NetworkPolicy"} <= set(others)


def test_no_other_function_is_updated_if_runner_fails(
    deployed: Run, cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.controllers.stuck.add("runner")
    assert deployed("deploy", "--image", SECOND, "--timeout", "1") == 1
    assert capsys.readouterr().err == "runner: not ready after 1 s: OutOfDate\n"
    for name in {*listed_functions().names} - {"runner"}:
        assert cluster.service(name)["status"]["latestCreatedRevisionName"] == f"{name}-00001"


def test_a_canary_of_runner_gets_all_traffic_with_the_reason(
    deployed: Run, cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    assert deployed("deploy", "--image", SECOND, "--canary", "10") == 0
    assert "runner: all traffic at once, without a canary, because" in capsys.readouterr().out
    served = cluster.service("runner")["status"]["traffic"]
    assert served == [{"revisionName": "runner-00002", "latestRevision": True, "percent": 100}]
    # Also when it was rolled back, so that another revision than the newest serves.
    deployed("rollback")
    third = SECOND.replace("2" * 64, "3" * 64)
    assert deployed("deploy", "--image", third, "--canary", "10") == 0
    assert traffic_of(cluster, "runner") == [{"latestRevision": True, "percent": 100}]
    assert [each["percent"] for each in traffic_of(cluster)] == [90, 10]


def test_rollback_returns_runner_after_all_other_functions(
    deployed: Run, cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    deployed("deploy", "--image", SECOND)
    capsys.readouterr()
    assert deployed("rollback") == 0
    lines = capsys.readouterr().out.splitlines()
    moved = [line.partition(":")[0] for line in lines if "% " in line]
    assert moved == [*sorted({*listed_functions().names} - {"runner"}), "runner"]
