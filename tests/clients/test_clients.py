"""The tests of clients/js and of the page, executed by Deno."""

import subprocess
from pathlib import Path

import pytest

from local.gateway import find_deno

HERE = Path(__file__).parent


@pytest.mark.parametrize("file", sorted(HERE.glob("*_test.ts")), ids=lambda file: file.stem)
def test_the_deno_tests_pass(file: Path) -> None:
    command = [find_deno(), "test", "--quiet", "--config", str(HERE / "deno.json")]
    allowed = ["--allow-read", "--allow-env", "--no-prompt"]

    done = subprocess.run([*command, *allowed, file], capture_output=True, text=True, timeout=180)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout
