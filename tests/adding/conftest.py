"""A server and a new app, with the real CLI. Modules that need no CLI have apps without a server: apps.py."""

import os
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from tempfile import mkdtemp

import pytest

from local.adding.app import App
from local.children import Children
from local.database.postgres import Server, start
from tests.adding.cli import Cli, program
from tests.adding.databases import drop_project, make_project
from tests.fixtures.database import TestDatabase


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server of this module's own, because roles belong to a whole server."""
    program()
    folder = Path(mkdtemp(prefix="agent-functions-adding-"))
    folder.chmod(0o711)
    try:
        with Children(folder / "logs") as children:
            pg_bin = os.environ.get("TEST_PG_BIN", "")
            yield start(children, folder / "postgres", pg_bin=pg_bin, is_safe=False)
    finally:
        shutil.rmtree(folder)


@pytest.fixture
async def project(server: Server) -> AsyncIterator[TestDatabase]:
    yield await make_project(server, "project")
    await drop_project(server, "project")


@pytest.fixture
def cli(project: TestDatabase, tmp_path: Path) -> Cli:
    """The CLI in a new app."""
    cli = Cli(tmp_path / "shop", project.owner_url)
    cli.root.mkdir()
    cli.run("init")
    return cli


@pytest.fixture
def app(cli: Cli) -> App:
    return App(cli.root / "supabase")
