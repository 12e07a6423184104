"""`python -m functions new`: it makes all files of an agent, or refuses and changes nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from functions.registry import InvalidFunctions, listed_functions
from local.scaffold.agents import make_agent
from local.scaffold.generated import generated_texts
from tests.fixtures.scaffolding import change_list, contents, used
from tests.knative.rendering import container, render, scaling, services
from tests.knative.schemas import faults

MADE = {
    "functions/my_agent/__init__.py",
    "functions/my_agent/app.py",
    "tests/functions/test_my_agent.py",
    "knative/base/my-agent.yaml",
}


def test_an_agent_is_made_with_everything_that_follows_from_the_list(checkout: Path) -> None:
    before = contents(checkout)
    report = make_agent("my-agent", checkout)
    after = contents(checkout)

    assert after.keys() - before.keys() == MADE
    changed = {path for path in before if before[path] != after[path]}
    assert all(f"\n  {path}\n" in report for path in MADE | changed)
    assert "MY_AGENT_SIGNING_KEY" in report
    assert "INTERNAL_PUBLIC_KEYS" in report
    assert "knative/base/runner.yaml" in report
    assert f"= {used(checkout)} of " in report

    functions = listed_functions(checkout / "functions/functions.json")
    assert functions.agents[0] == listed_functions().agents[0]
    assert functions.agents[-1] == "my-agent"
    for path, text in generated_texts(checkout, functions).items():
        assert (checkout / path).read_text() == text


def test_its_manifest_is_a_few_lines_and_has_what_all_agents_share(checkout: Path) -> None:
    make_agent("my-agent", checkout)
    objects = render(checkout / "knative/overlays/production")
    assert not [fault for each in objects for fault in faults(each)]
    found = services(objects)
    made, first = found["my-agent"], found[listed_functions().agents[0]]

    assert len((checkout / "knative/base/my-agent.yaml").read_text().splitlines()) < 25
    assert container(made)["args"] == ["my-agent"]
    assert scaling(made)["max-scale"] == "10"
    assert scaling(made).keys() == scaling(first).keys()
    assert [each["name"] for each in container(made)["env"]] == [
        each["name"] for each in container(first)["env"]
    ]
    [signing] = [e for e in container(made)["env"] if e["name"] == "INTERNAL_SIGNING_KEY"]
    assert signing["valueFrom"]["secretKeyRef"]["key"] == "MY_AGENT_SIGNING_KEY"


def test_the_components_apply_to_it_without_an_edit(checkout: Path) -> None:
    make_agent("my-agent", checkout)
    overlay = checkout / "knative/overlays/production/kustomization.yaml"
    content = yaml.safe_load(overlay.read_text())
    names = ("always-warm", "domain-mapping", "eventing", "network-policy")
    content["components"] = [f"../../components/{name}" for name in names]
    overlay.write_text(yaml.safe_dump(content))
    objects = render(overlay.parent)

    made = services(objects)["my-agent"]
    assert scaling(made)["min-scale"] == "1"
    mappings = [each for each in objects if each["kind"] == "DomainMapping"]
    assert "my-agent" in {each["spec"]["ref"]["name"] for each in mappings}
    labels = made["spec"]["template"]["metadata"]["labels"].items()
    [policy] = [e for e in objects if e["metadata"]["name"] == "functions-egress-to-functions"]
    [selected] = policy["spec"]["podSelector"]["matchExpressions"]
    assert (selected["key"], "agent") in labels
    assert "agent" in selected["values"]
    [binding] = [e for e in objects if e["metadata"]["name"] == "agents-to-runs"]
    wanted = binding["spec"]["subject"]["selector"]["matchLabels"].items()
    assert wanted <= made["metadata"]["labels"].items()


def test_names_that_yaml_reads_as_other_values_stay_names(checkout: Path) -> None:
    make_agent("true", checkout)
    make_agent("null", checkout)
    assert {"true", "null"} <= services(render(checkout / "knative/overlays/local")).keys()


def test_a_new_agent_gets_the_pods_that_are_left_and_none_without_any(checkout: Path) -> None:
    change_list(checkout, lambda content: content.update(database_clients=used(checkout) + 50))
    make_agent("one", checkout)
    make_agent("two", checkout)
    found = services(render(checkout / "knative/overlays/production"))
    assert scaling(found["one"])["max-scale"] == "10"
    assert scaling(found["two"])["max-scale"] == "2"

    before = contents(checkout)
    with pytest.raises(
        InvalidFunctions, match=r"No pod is left for three, because max-scale \(.*\.$"
    ):
        make_agent("three", checkout)
    assert contents(checkout) == before


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("My-Agent", "cannot be a function's name: up to 40"),
        ("list", "because it is reserved"),
        ("new", "because it is reserved"),
        ("remove", "because it is reserved"),
        ("auth-gateway", "because it is reserved"),
        ("threads", "taken: functions/threads exists"),
        ("registry", "taken: functions/registry.py exists"),
        ("edges", "taken: tests/functions/test_edges.py exists"),
        ("every-agent", "taken: knative/base/every-agent.yaml exists"),
        ("namespace", "taken: knative/base/namespace.yaml exists"),
    ],
)
def test_a_name_that_cannot_be_used_is_refused_in_one_sentence(
    checkout: Path, name: str, reason: str
) -> None:
    before = contents(checkout)
    with pytest.raises(InvalidFunctions) as refused:
        make_agent(name, checkout)

    assert reason in str(refused.value)
    assert "\n" not in str(refused.value)
    assert contents(checkout) == before


@pytest.mark.parametrize("nth", range(1, 11))
def test_a_file_that_cannot_be_written_leaves_everything_as_it_was(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, nth: int
) -> None:
    before, written = contents(checkout), []
    write = Path.write_bytes

    def fail_once(path: Path, content: bytes) -> int:
        written.append(path)
        if len(written) == nth:
            write(path, content[:10])
            raise OSError("No space left on device")
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", fail_once)
    with pytest.raises(InvalidFunctions, match="No space left on device"):
        make_agent("my-agent", checkout)
    assert contents(checkout) == before


@pytest.mark.parametrize("nth", range(1, 11))
def test_a_file_that_cannot_be_renamed_leaves_everything_as_it_was(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, nth: int
) -> None:
    before, renamed = contents(checkout), []
    replace = Path.replace

    def fail_once(path: Path, target: Path) -> Path:
        renamed.append(path)
        if len(renamed) == nth:
            raise OSError("Input/output error")
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", fail_once)
    with pytest.raises(InvalidFunctions, match="Input/output error"):
        make_agent("my-agent", checkout)
    assert contents(checkout) == before


#: Root may write everything; without these capabilities its own files have rights, too.
_WITH_RIGHTS = (
    ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
)


@pytest.mark.parametrize(
    ("path", "mode"),
    [
        ("functions/functions.json", 0o444),
        ("knative/base/kustomization.yaml", 0o444),
        ("README.md", 0o444),
        ("README.md", 0o000),
        ("knative/base/tools.yaml", 0o000),
        ("functions", 0o555),
        ("knative/base", 0o555),
        ("tests/functions", 0o555),
        ("tests/functions", 0o000),
        ("supabase/functions/auth-gateway", 0o555),
        (".", 0o555),
    ],
)
def test_what_may_not_be_written_or_read_is_one_sentence_and_changes_nothing(
    checkout: Path, path: str, mode: int
) -> None:
    before, kept = contents(checkout), (checkout / path).stat().st_mode
    (checkout / path).chmod(mode)
    command = [*_WITH_RIGHTS, sys.executable, "-B", "-m", "functions", "new", "my-agent"]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True)
    (checkout / path).chmod(kept)

    assert done.returncode == 1
    assert "Permission denied" in done.stderr
    assert done.stderr.count("\n") == 1
    assert contents(checkout) == before


def test_rights_of_changed_files_stay(checkout: Path) -> None:
    (checkout / "functions/functions.json").chmod(0o640)
    make_agent("my-agent", checkout)

    assert (checkout / "functions/functions.json").stat().st_mode & 0o777 == 0o640


def test_a_manifest_without_its_max_scale_is_refused(checkout: Path) -> None:
    (checkout / "knative/base/tools.yaml").write_text("{}")
    with pytest.raises(InvalidFunctions, match=r"tools\.yaml sets no .*max-scale"):
        make_agent("my-agent", checkout)


def test_the_commands_are_those_of_the_program(checkout: Path) -> None:
    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "functions", *arguments]
        return subprocess.run(command, cwd=checkout, capture_output=True, text=True)

    assert run("new", "my-agent").returncode == 0
    listed = run("list")
    assert ["my-agent", "agent", "yes"] in [row.split()[:3] for row in listed.stdout.splitlines()]
    assert run("new", "my-agent").stderr == (
        "The name my-agent is taken: functions/my_agent exists.\n"
    )
    # What is generated passes the linter and the formatter as it is.
    made = [path for path in MADE if path.endswith(".py")]
    for check in (["format", "--check"], ["check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *check, *made], cwd=checkout, capture_output=True
        )
        assert done.returncode == 0, done.stdout
