"""`deploy` names every wrong setting before it applies anything."""

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from functions.importing import import_app
from functions.registry import listed_functions
from knative.__main__ import main
from local.keys import SigningKey
from shared.doctor.offline import REQUIRED
from tests.fixtures.kubernetes import SECRETS, FakeCluster, Run
from tests.knative.rendering import FOLDER, copied


@pytest.fixture
def overlay() -> Iterator[Path]:
    """An overlay with valid settings, which a test may change."""
    with copied() as folder:
        yield folder / "overlays/production"


def put(overlay: Path, name: str, value: str | None) -> None:
    """Set a setting of the overlay's file, or remove it."""
    file = overlay / "settings.env"
    lines = [each for each in file.read_text().splitlines() if not each.startswith(f"{name}=")]
    file.write_text("\n".join([*lines, *([] if value is None else [f"{name}={value}"])]) + "\n")


def put_secret(cluster: FakeCluster, name: str, value: str) -> None:
    encoded = base64.b64encode(value.encode()).decode()
    cluster.objects[SECRETS]["data"][name] = encoded


@pytest.mark.parametrize(
    ("name", "value", "functions", "sentence"),
    [
        (
            "GATEWAY_PUBLIC_KEYS",
            '{"keys": []}',
            "assistant, threads, trips",
            "GATEWAY_PUBLIC_KEYS holds no ES256 public key with a kid",
        ),
        ("GATEWAY_PUBLIC_KEYS", "canary", "assistant, threads, trips", "is not a JWKS"),
        ("INTERNAL_PUBLIC_KEYS", '{"keys": []}', "tools", "holds no ES256 public key"),
        ("SUPABASE_JWKS", "canary", "assistant, threads, trips", "SUPABASE_JWKS is not a JWKS"),
        ("TICK_SECONDS", "soon", "assistant, runner, threads, tools, trips", "a number"),
        ("LOG_LEVEL", "canary", "assistant, runner, threads, tools, trips", "must be one of"),
        ("LEASE_SECONDS", "5", "assistant, runner, threads, tools, trips", "must be below LEASE"),
        ("SUPABASE_URL", "canary", "assistant, runner, threads, tools, trips", "http(s) address"),
        ("SUPABASE_URL", None, "assistant, threads, trips", "Set SUPABASE_URL"),
        ("GATEWAY_PUBLIC_KEYS", "", "assistant, threads, trips", "Set GATEWAY_PUBLIC_KEYS"),
        ("MCP_SERVERS", "{canary", "assistant, runner, trips", "MCP_SERVERS is not JSON"),
        (
            "MCP_SERVERS",
            '{"far": {"url": "https://far.example.com", "headers": {"a": "${TOKEN}"}}}',
            "assistant, runner, trips",
            "MCP_SERVERS: far needs MCP_SECRET_TOKEN",
        ),
        ("OPENAI_BASE_URL", "canary", "assistant, runner, trips", "is not an http(s) address"),
    ],
)
def test_a_wrong_setting_of_the_overlay_is_one_sentence_with_its_file(
    run: Run,
    cluster: FakeCluster,
    overlay: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    value: str | None,
    functions: str,
    sentence: str,
) -> None:
    put(overlay, name, value)
    assert run("deploy", str(overlay)) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{functions}: "), line
    assert sentence in line
    assert line.endswith("overlays/production/settings.env)."), line
    assert "canary" not in line
    assert not cluster.applied


@pytest.mark.parametrize(
    ("key", "value", "functions", "sentence"),
    [
        (
            "SUPABASE_DATABASE_URL",
            "mysql://canary@h/x",
            "assistant, runner, threads, tools, trips",
            "SUPABASE_DATABASE_URL must begin with postgresql://",
        ),
        (
            "SUPABASE_DATABASE_URL",
            "",
            "assistant, runner, threads, tools, trips",
            "Set SUPABASE_DATABASE_URL",
        ),
        ("ASSISTANT_SIGNING_KEY", "canary", "assistant", "is not a private ES256 key"),
        ("RUNNER_SIGNING_KEY", "", "runner", "Set INTERNAL_SIGNING_KEY"),
        ("TOOLS_SIGNING_KEY", "canary", "tools", "INTERNAL_SIGNING_KEY is not a private ES256"),
        ("LEGACY_JWT_SECRET", "canary", "assistant, threads, trips", "has fewer than 32"),
        ("OPENAI_API_KEY", "can\nary", "assistant, runner, trips", "OPENAI_API_KEY has characters"),
    ],
)
def test_a_wrong_secret_is_one_sentence_with_its_key(
    run: Run,
    cluster: FakeCluster,
    capsys: pytest.CaptureFixture[str],
    key: str,
    value: str,
    functions: str,
    sentence: str,
) -> None:
    put_secret(cluster, key, value)
    assert run("deploy") == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith(f"{functions}: ")
    assert sentence in lines[0]
    assert lines[0].endswith(f"({key} of Secret backend-secrets).")
    assert "canary" not in lines[0]
    assert not cluster.applied


def test_a_key_that_tools_would_not_know_is_named(
    run: Run, cluster: FakeCluster, overlay: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also if the two settings of public keys were pasted the wrong way round."""
    stranger = SigningKey.generate("stranger")
    put_secret(cluster, "TRIPS_SIGNING_KEY", stranger.private_text)
    assert run("deploy", str(overlay)) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("trips: INTERNAL_PUBLIC_KEYS lacks the public half of INTERNAL_SIGNING_")
    assert stranger.jwk["kid"] in line
    assert not cluster.applied


def test_all_wrong_settings_are_listed_together_with_missing_secrets(
    run: Run, cluster: FakeCluster, overlay: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(overlay, "GATEWAY_PUBLIC_KEYS", "{}")
    put(overlay, "TICK_SECONDS", "0")
    put_secret(cluster, "RUNNER_SIGNING_KEY", "{}")
    del cluster.objects[SECRETS]["data"]["OPENAI_API_KEY"]
    assert run("deploy", str(overlay)) == 1
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[1].split(" ")[0] for line in lines] == [
        "missing",
        "TICK_SECONDS",
        "GATEWAY_PUBLIC_KEYS",
        "INTERNAL_SIGNING_KEY",
    ]


def test_a_value_in_a_service_is_named_by_its_place(
    run: Run, overlay: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = overlay.parents[1] / "base/threads.yaml"
    file.write_text(file.read_text().replace('value: "255"', 'value: "a while"'))
    assert run("deploy", str(overlay)) == 1
    assert capsys.readouterr().err == (
        "threads: STOP_GRACE_SECONDS must be a number (its value in `env` of the Service).\n"
    )


def test_a_secret_that_may_not_be_read_is_no_fault(run: Run, cluster: FakeCluster) -> None:
    cluster.forbidden.add(SECRETS)
    assert run("deploy") == 0


def test_neither_are_variables_that_may_come_from_such_a_secret(
    run: Run, cluster: FakeCluster, overlay: Path
) -> None:
    cluster.forbidden.add(SECRETS)
    put(overlay, "SUPABASE_URL", None)
    file = overlay.parents[1] / "base/every-function.yaml"
    reference = "            - secretRef:\n                name: backend-secrets\n"
    file.write_text(file.read_text().replace("envFrom:\n", f"envFrom:\n{reference}"))
    assert run("deploy", str(overlay)) == 0


def test_an_overlay_may_have_no_component_in_its_list(run: Run, overlay: Path) -> None:
    file = overlay / "kustomization.yaml"
    file.write_text(file.read_text().replace("  - ../../components/network-policy\n", ""))
    assert run("deploy", str(overlay)) == 0


def test_the_examples_of_the_overlays_are_refused(
    run: Run, cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, count in (("local", 2), ("production", 3)):
        assert run("deploy", str(FOLDER / "overlays" / name)) == 1
        lines = capsys.readouterr().err.splitlines()
        assert [line.rpartition("(")[2] for line in lines] == [
            f"knative/overlays/{name}/settings.env)."
        ] * count
    assert not cluster.applied


def test_diff_ends_with_what_deploy_would_refuse(
    run: Run, overlay: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(overlay, "TICK_SECONDS", "soon")
    assert run("diff", str(overlay)) == 1
    output = capsys.readouterr()
    assert "Service runner\n" in output.out
    assert "TICK_SECONDS must be a number" in output.err


def test_settings_in_a_secret_of_the_overlay_are_read(
    run: Run, overlay: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "backend-secrets", "namespace": "agent-backend"},
        "stringData": {"SUPABASE_DATABASE_URL": "canary"},
    }
    (overlay / "secret.yaml").write_text(yaml.safe_dump(secret))
    kustomization = yaml.safe_load((overlay / "kustomization.yaml").read_text())
    kustomization["resources"].append("secret.yaml")
    (overlay / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    assert run("deploy", str(overlay)) == 1
    error = capsys.readouterr().err
    assert "ASSISTANT_SIGNING_KEY of Secret backend-secrets" in error
    assert "SUPABASE_DATABASE_URL of Secret backend-secrets)." in error
    assert "canary" not in error


def test_the_check_requires_what_each_function_requires() -> None:
    for function in listed_functions().functions:
        required = {name.upper() for name in import_app(function.name).requires}
        assert required == {*REQUIRED[function.kind]}, function.name


@pytest.mark.parametrize("command", ["deploy", "diff"])
def test_without_a_cluster_the_settings_of_the_overlay_are_still_checked(
    overlay: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    nowhere = tmp_path / "none"
    put(overlay, "TICK_SECONDS", "soon")
    assert main(["--kubeconfig", str(nowhere), command, str(overlay)]) == 1
    wrong, reason = capsys.readouterr().err.splitlines()
    assert "TICK_SECONDS must be a number" in wrong
    assert reason == f"There is no kubeconfig at {nowhere}. Set KUBECONFIG, or pass --kubeconfig."


@pytest.mark.parametrize("command", ["deploy", "diff"])
def test_a_name_that_is_like_a_settings_gets_a_remark(
    run: Run, overlay: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    put(overlay, "OPENAI_MODLE", "gpt-5-mini")
    put(overlay, "COLOR_OF_THE_DAY", "blue")
    put(overlay, "# OPENAI_KEY", "a comment")
    assert run(command, str(overlay)) == 0
    said = capsys.readouterr().err
    assert "OPENAI_MODLE is no setting; did you mean OPENAI_MODEL" in said
    assert "settings.env)" in said
    assert said.count("is no setting") == 1
    put(overlay, "export LOG_LEVEL", "DEBUG")
    run(command, str(overlay))
    assert "'export LOG_LEVEL' is no variable's name (" in capsys.readouterr().err


def test_without_a_cluster_no_secret_counts_as_missing(
    overlay: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--kubeconfig", str(tmp_path / "none"), "deploy", str(overlay)]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("There is no kubeconfig at ")
    assert line.endswith("The overlay's own settings can be used; its Secrets were not checked.")
