"""`python -m functions remove`: all that `new` made disappears, or nothing does."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from functions.registry import InvalidFunctions, listed_functions
from local.scaffold.agents import make_agent
from local.scaffold.command import remove
from local.scaffold.generated import generated_texts
from local.scaffold.removal import plan_removal
from local.scaffold.resources import KUSTOMIZATION
from tests.fixtures.scaffolding import contents
from tests.knative.rendering import render, services


def run(checkout: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-B", "-m", "functions", *arguments],
        cwd=checkout,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        text=True,
    )


def test_a_removed_agent_leaves_no_trace(checkout: Path) -> None:
    before = contents(checkout)
    make_agent("my-agent", checkout)
    (checkout / "functions/my_agent/prompts").mkdir()
    (checkout / "functions/my_agent/prompts/first.txt").write_text("Help.")
    made = contents(checkout)
    done = run(checkout, "remove", "my-agent", "--yes")

    assert (done.returncode, done.stderr) == (0, "")
    assert contents(checkout) == before
    assert not (checkout / "functions/my_agent").exists()
    touched = {path for path in made if before.get(path) != made[path]}
    assert all(f"\n  {path}\n" in f"\n{done.stdout}" for path in touched)
    assert "kubectl -n agent-backend delete ksvc my-agent" in done.stdout
    assert "MY_AGENT_SIGNING_KEY" in done.stdout


def test_without_a_terminal_nothing_is_removed(checkout: Path) -> None:
    make_agent("my-agent", checkout)
    before = contents(checkout)
    done = run(checkout, "remove", "my-agent")

    assert done.returncode == 1
    assert "functions/my_agent/app.py" in done.stdout
    assert done.stderr == ("There is no terminal to confirm it; pass --yes. Nothing has changed.\n")
    assert contents(checkout) == before


def test_a_file_that_came_after_the_plan_is_not_removed(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_agent("my-agent", checkout)
    late = checkout / "functions/my_agent/late.py"

    def write_and_confirm(question: str) -> bool:
        assert question.startswith("Remove my-agent?")
        late.write_text("work = 1\n")
        return True

    monkeypatch.setattr("local.scaffold.command.is_confirmed", write_and_confirm)
    with pytest.raises(InvalidFunctions, match="changed after the plan was shown"):
        remove(["my-agent"], checkout)
    assert late.exists()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nobody", "There is no agent nobody; your agents are "),
        (
            "trips",
            "trips cannot be removed, because the bundle needs it; your agents are ",
        ),
        (
            "tools",
            "tools cannot be removed, because the bundle needs it; your agents are ",
        ),
        ("../tests", "There is no agent ../tests; your agents are "),
    ],
)
def test_what_cannot_be_removed_is_one_sentence(checkout: Path, name: str, reason: str) -> None:
    make_agent("my-agent", checkout)
    with pytest.raises(InvalidFunctions) as refused:
        plan_removal(name, checkout)

    assert str(refused.value).startswith(reason)
    assert str(refused.value).endswith("my-agent.")


def test_what_was_removed_by_hand_is_no_obstacle(checkout: Path) -> None:
    before = contents(checkout)
    make_agent("my-agent", checkout)
    shutil.rmtree(checkout / "functions/my_agent")
    (checkout / "knative/base/my-agent.yaml").unlink()
    hint = run(checkout, "list").stderr
    assert hint.endswith("`python -m functions remove my-agent`.\n")

    assert run(checkout, "remove", "my-agent", "--yes").returncode == 0
    assert contents(checkout) == before


@pytest.mark.parametrize("has_manifest", [True, False])
def test_make_generate_forgets_an_agent_that_was_removed_by_hand(
    checkout: Path, has_manifest: bool
) -> None:
    before = contents(checkout)
    listed = (checkout / "functions/functions.json").read_text()
    make_agent("my-agent", checkout)
    (checkout / "functions/functions.json").write_text(listed)
    listed_functions.cache_clear()
    if not has_manifest:
        (checkout / "knative/base/my-agent.yaml").unlink()
    texts = generated_texts(checkout, listed_functions(checkout / "functions/functions.json"))

    for path, text in texts.items():
        assert text.encode() == before[path]
        (checkout / path).write_text(text)
    assert "my-agent" not in services(render(checkout / "knative/overlays/production"))


def test_resources_that_are_no_functions_stay(checkout: Path) -> None:
    (checkout / "knative/base/own.yaml").write_text("kind: ConfigMap\n")
    file = checkout / KUSTOMIZATION
    own = "  - own.yaml\n  - ../own\n  - https://example.com/own.yaml\n"
    text = file.read_text().replace("  - runner.yaml\n", f"{own}  - runner.yaml\n")
    file.write_text(text)
    listed = listed_functions(checkout / "functions/functions.json")

    assert generated_texts(checkout, listed)[KUSTOMIZATION] == text


def test_a_file_that_cannot_be_removed_leaves_everything_as_it_was(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_agent("my-agent", checkout)
    before, unlink = contents(checkout), Path.unlink

    def refuse(path: Path, missing_ok: bool = False) -> None:
        if path.name == "my-agent.yaml":
            raise OSError("Input/output error")
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(InvalidFunctions, match="nothing has changed: Input/output error"):
        plan_removal("my-agent", checkout).apply()
    assert contents(checkout) == before
