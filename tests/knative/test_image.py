"""The image, built by buildah and started as Knative starts it: as an unprivileged user, on a read-only file system."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from local.environment import ROOT
from local.probe import free_port
from tests.doubles import ModelServer, says
from tests.fixtures.database import TestDatabase
from tests.fixtures.environment import variables
from tests.fixtures.functions import Person, run_input, settings_for
from tests.fixtures.processes import until_ready
from tests.knative.building import Builder, Image, checkout, make_base

_IS_POSSIBLE = shutil.which("buildah") and os.geteuid() == 0
pytestmark = pytest.mark.skipif(
    not _IS_POSSIBLE and os.environ.get("CI") != "true", reason="needs buildah, and root to chroot"
)
#: Stands for the password of an index.
_MARK = "of-an-index-of-their-own"
FUNCTIONS = sorted(path.parent.name for path in ROOT.glob("functions/*/app.py"))


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    """The image, as `make wheels image` builds it."""
    folder = tmp_path_factory.mktemp("image")
    builder = Builder(folder)
    make_base(builder, "python-of-this-machine")
    source = checkout(folder / "checkout")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    builder.make(source, "wheels", PYTHON=sys.executable, PYTHON_VERSION=version)
    (source / "pip.conf").write_text(
        f"[global]\nextra-index-url = https://user:{_MARK}@x.invalid\n"
    )
    named = {"IMAGE": "agent-functions:test", "PYTHON_IMAGE": "localhost/python-of-this-machine"}
    builder.make(source, "image", PIP_CONFIG="pip.conf", **named)
    with builder.mounted(named["IMAGE"]) as built:
        yield built
    # Removed here: hundreds of megabytes, which pytest would keep for three runs.
    shutil.rmtree(folder)


def test_it_has_labels_that_describe_it(image: Image) -> None:
    labels = {k.rpartition(".")[2]: v for k, v in image.config["Labels"].items()}
    assert labels["title"] == "agent-functions"
    assert labels["licenses"] == "Apache-2.0"
    assert f'version = "{labels["version"]}"' in (ROOT / "pyproject.toml").read_text()
    assert labels["revision"]
    user, group = image.config["User"].split(":")
    assert int(user) > 0 < int(group)
    assert image.config["StopSignal"] == "SIGTERM"


def test_it_has_the_functions_and_nothing_of_a_checkout(image: Image) -> None:
    assert {path.name for path in (image.root / "app").iterdir()} == {"functions", "shared"}


def test_the_password_of_an_index_is_in_no_layer(image: Image) -> None:
    images = next(each for each in image.root.parents if each.name == "images")
    found = subprocess.run(["grep", "-rlFs", _MARK, images], capture_output=True, text=True)
    assert (found.returncode, found.stdout) == (1, "")


def test_nothing_in_it_installs_or_compiles(image: Image) -> None:
    names = {path.name for path in image.root.rglob("*")}
    assert not names & {"pip", "pip3", "ensurepip", "setuptools", "wheels", "gcc", "cc", "ld"}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_all_that_a_function_imports_is_compiled_and_cannot_be_stale(
    image: Image, function: str
) -> None:
    script = f"""
import importlib.util, json, sys
import functions.__main__, functions.{function}.app, databases.core, aiohttp, encodings.idna
files = [getattr(module, "__file__", None) or "" for module in list(sys.modules.values())]
print(json.dumps([(f, importlib.util.cache_from_source(f)) for f in files if f.endswith(".py")]))
"""
    imported = [(Path(source), Path(cached)) for source, cached in json.loads(image.python(script))]
    assert len(imported) > 500
    assert {path.parts[1] for path, _ in imported} == {"usr", "packages", "app"}
    for source, cached in imported:
        flags = (image.root / cached.relative_to("/")).read_bytes()[4:8]
        assert int.from_bytes(flags, "little") == 0b01, f"{source}: compared with its source"


def test_it_cannot_write_where_it_is(image: Image) -> None:
    tried = image.python(
        "import errno\n"
        "for name in ('/app/x', '/packages/x', '/tmp/x'):\n"
        "  try: open(name, 'w')\n"
        "  except OSError as error: print(errno.errorcode[error.errno])"
    )
    assert set(tried.split()) == {"EROFS"}


async def test_a_user_gets_an_answer_from_it(
    image: Image, database: TestDatabase, model: ModelServer
) -> None:
    model.will(says("Hel", "lo"))
    async with _started(image, "assistant", database, model) as person:
        await database.add_user(person.sub)
        frames = await person.run(run_input("Hi"))
    assert [each["delta"] for each in frames if "delta" in each] == ["Hel", "lo"]
    assert frames[-1]["type"] == "RUN_FINISHED"


@pytest.mark.parametrize("function", FUNCTIONS)
async def test_each_function_gets_ready_in_it_and_ends_at_sigterm(
    image: Image, database: TestDatabase, model: ModelServer, function: str
) -> None:
    async with _started(image, function, database, model) as person:
        health = await person.client.get(f"{person.base}/health")
        assert health.json() == {"status": "ok"}


@asynccontextmanager
async def _started(
    image: Image, function: str, database: TestDatabase, model: ModelServer
) -> AsyncIterator[Person]:
    port = free_port()
    given = variables(settings_for(database, model, host="127.0.0.1", port=port))
    path = f"{image.environ['PATH']}:/usr/sbin"
    process = await asyncio.create_subprocess_exec(
        *image.command(function), env={**image.environ, **given, "PATH": path}
    )
    base = f"http://127.0.0.1:{port}"
    try:
        async with httpx.AsyncClient(timeout=20) as client:
            await until_ready(process, client, base, seconds=30)
            yield Person(client, base)
            process.send_signal(signal.Signals[image.config["StopSignal"]])
            async with asyncio.timeout(10):
                await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
