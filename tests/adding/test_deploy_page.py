"""docs/deploy.md as it is: its commands in their order with the real CLI, and its SQL in an app's history."""

import json
import os
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from local.adding.app import App, checkout
from local.environment import ROOT
from shared.auth import Minter
from tests.adding.apps import add
from tests.adding.cli import Cli, program
from tests.adding.databases import snapshot
from tests.fixtures.database import TestDatabase
from tests.gateway.door import current_deno, running

PAGE = (ROOT / "docs/deploy.md").read_text()
STAND_INS = Path(__file__).with_name("stand_ins")
RECORDED = ("make", "docker", "kubectl", "curl")
LATER = timedelta(days=1)


def section(title: str) -> str:
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def script() -> str:
    """All commands up to the upgrade. The checkout is there already, and the placeholders have values."""
    lines = "".join(blocks(PAGE.partition("\n## Adding an agent")[0], "console"))
    commands = [line[2:] for line in lines.replace("\\\n", " ").splitlines() if line[:2] == "$ "]
    rest = [command for command in commands if not command.startswith("git ")]
    text = "\n".join(["set -euo pipefail", *rest])
    return text.replace("<ref>", "abcdefghijklmnopqrst").replace("<a user's token>", "token")


def make_programs(folder: Path) -> None:
    """The programs that the page uses, for PATH."""
    folder.mkdir()
    shebang = f"#!{sys.executable}\n"
    texts = dict.fromkeys(RECORDED, shebang + (STAND_INS / "recorder.py").read_text())
    texts["supabase"] = shebang + (STAND_INS / "supabase.py").read_text()
    # The commands of `python -m knative` need a cluster.
    texts["python"] = f'#!/bin/sh\n[ "$2" = knative ] || exec {sys.executable} "$@" --yes\n'
    for name, text in texts.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A checkout beside the app."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (tmp_path / "copy" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tmp_path / "copy" / name)
    return tmp_path / "copy"


async def test_its_commands_are_complete_in_their_order(
    cli: Cli, project: TestDatabase, copy: Path, tmp_path: Path
) -> None:
    cli.root.rename(tmp_path / "my-app")
    make_programs(tmp_path / "bin")
    output = execute_page(copy, tmp_path, project.owner_url)
    await check_keys(copy, output)
    check_secrets([json.loads(line) for line in (tmp_path / "record").read_text().splitlines()])
    async with project.owner() as owner:
        assert await owner.fetchval("select to_regclass('agent.run')")


def execute_page(copy: Path, folder: Path, url: str) -> str:
    """Run all commands in the checkout's root; returns what they print."""
    done = subprocess.run(
        ["bash", "-c", script()],
        cwd=copy,
        env={
            "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(folder),
            "RECORD": str(folder / "record"),
            "DATABASE": url,
            "CLI": str(program()),
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


async def check_keys(copy: Path, output: str) -> None:
    """The printed settings hold public keys only, the private ones are their owner's, and the gateway starts."""
    printed = dict(re.findall(r"^(\w+_PUBLIC_KEYS)=(.*)$", output, re.MULTILINE))
    counts = {name: len(json.loads(text)["keys"]) for name, text in printed.items()}
    assert counts == {"GATEWAY_PUBLIC_KEYS": 1, "INTERNAL_PUBLIC_KEYS": 3}
    assert not [name for name, text in printed.items() if '"d"' in text]
    assert (copy / "keys").stat().st_mode & 0o777 == 0o700
    signing_key = (copy / "keys/gateway.jwk").read_text()
    Minter("assistant", (copy / "keys/assistant.jwk").read_text())
    async with running(current_deno(), GATEWAY_SIGNING_KEY=signing_key) as port:
        assert port


def check_secrets(record: list[list[Any]]) -> None:
    """Each secret of the gateway and of the functions has a value."""
    (gateway,) = [words for words in record if words[:3] == ["supabase", "secrets", "set"]]
    values = dict(word.split("=", 1) for word in gateway if re.match("[A-Z_]+=", word))
    assert all(values.values())
    assert json.loads(values["GATEWAY_SIGNING_KEY"])["d"]
    (created,) = [words for words in record if "secret" in words]
    literals = [word for word in created if word.startswith("--from-literal=")]
    assert literals
    assert not [word for word in literals if word.endswith("=")]


async def test_starting_over_is_a_step_of_the_apps_history(cli: Cli, app: App) -> None:
    add(app, now=datetime.now(UTC))
    count = len(cli.push())
    write_migration(cli, app, blocks(section("Starting over"), "sql")[0])
    add(app, now=datetime.now(UTC) + LATER)
    assert len(cli.push()) == 1 + count
    assert all(local == remote for local, remote in cli.history())


async def test_nothing_is_left_after_removing(cli: Cli, app: App, project: TestDatabase) -> None:
    async with project.owner() as owner:
        # Every project of Supabase has it.
        await owner.execute("create schema vault; create table vault.secrets (name text)")
    before = await snapshot(project)
    add(app, now=datetime.now(UTC))
    cli.push()
    statements = blocks(section("Starting over"), "sql")[0], *blocks(section("Removing it"), "sql")
    write_migration(cli, app, "".join(statements))
    cli.push()
    assert before.changes(await snapshot(project)) == set()


def write_migration(cli: Cli, app: App, text: str) -> None:
    cli.run("migration", "new", "of_the_page")
    (file,) = app.migrations.glob("*_of_the_page.sql")
    file.write_text(text)


async def test_an_earlier_push_from_the_checkout_is_forgotten_and_nothing_else(
    cli: Cli, app: App, project: TestDatabase
) -> None:
    app.migrations.mkdir()
    (app.migrations / "20261126101010_orders.sql").write_text("create table public.orders ();")
    copies = push_as_before(cli, app)
    async with project.owner() as owner:
        await owner.execute("".join(blocks(section("Starting over"), "sql")))
    assert cli.history() == [("20261126101010", "20261126101010")]
    add(app, now=datetime.now(UTC) + LATER)
    assert len(cli.push()) == copies


def push_as_before(cli: Cli, app: App) -> int:
    """Leave our versions in the project's history only; returns their number."""
    files = [
        Path(shutil.copy(file, app.migrations)) for file in checkout().migrations.glob("*.sql")
    ]
    cli.push()
    for file in files:
        file.unlink()
    return len(files)
