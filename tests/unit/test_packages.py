"""Commands before anything is installed: one sentence says what to run, and the exit code is 2."""

import subprocess
import sys

import pytest

from functions.packages import needed_packages
from local.environment import ROOT

COMMANDS = ("functions", "local", "knative")


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_python_without_the_packages_is_one_sentence(command: str) -> None:
    # Without `site`, Python finds no installed package.
    done = run("-S", "-m", command, "--help")

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"This Python ({sys.executable}) has no package ")
    assert done.stderr.endswith(f" once, and then .venv/bin/python -m {command} …\n")
    assert "`make bootstrap`" in done.stderr
    assert done.stderr.count("\n") == 1


def test_what_only_bootstrap_installs_is_named_as_such() -> None:
    script = """
import runpy, sys
sys.modules["lightkube"] = None
sys.prefix = sys.argv[1]
runpy.run_module("knative", run_name="__main__")
"""
    done = run("-c", script, str(ROOT / ".venv"))

    assert done.returncode == 2
    assert done.stderr == (
        "python -m knative needs the package lightkube: run `make bootstrap` first.\n"
    )


def test_a_missing_module_of_this_repository_is_no_missing_package() -> None:
    with pytest.raises(ModuleNotFoundError), needed_packages("local", "make dev"):
        import local.no_such_module  # type: ignore[import-not-found]  # noqa: F401
