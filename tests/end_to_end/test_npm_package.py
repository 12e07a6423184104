"""The npm package of `clients/js`, packed and installed as its users have it."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from local.environment import ROOT
from tests.conformance.installing import by_npm, installed
from tests.fixtures.stack import Stack

SOURCE = ROOT / "clients/js"
CONSUMER = Path(__file__).with_name("package")
OPTIONS = ["--offline", "--no-package-lock", "--no-audit", "--no-fund", "--silent"]


def run(*command: str, folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def tools() -> Path:
    """The package's tools for development: TypeScript, and the types of @ag-ui/client."""
    return installed(SOURCE / "package.json", by_npm, "npm-package") / "node_modules"


@pytest.fixture(scope="module")
def package(tools: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packed file, as `make npm-package` makes it."""
    copy = tmp_path_factory.mktemp("package") / "js"
    shutil.copytree(SOURCE, copy, ignore=shutil.ignore_patterns("examples", "node_modules"))
    shutil.copy(ROOT / "LICENSE", copy)
    (copy / "node_modules").symlink_to(tools)
    return copy / run("npm", "pack", "--silent", folder=copy).split()[-1]


@pytest.fixture
def app(package: Path, tmp_path: Path) -> Path:
    """An app that has installed it, and nothing else."""
    (tmp_path / "package.json").write_text('{"name": "app", "private": true, "type": "module"}')
    run("npm", "install", str(package), *OPTIONS, folder=tmp_path)
    return tmp_path


def test_it_has_the_files_that_it_exports_and_no_others(app: Path) -> None:
    folder = app / "node_modules/agent-functions-client"
    meta = json.loads((folder / "package.json").read_text())
    for each in meta["exports"].values():
        assert (folder / each["types"]).is_file()
        assert (folder / each["default"]).is_file()
    names = {path.name for path in folder.iterdir()}
    sources = {path.name for path in SOURCE.glob("*.js")}
    assert names == sources | {"package.json", "README.md", "LICENSE", "types"}


def test_its_version_and_license_are_the_projects() -> None:
    meta = json.loads((SOURCE / "package.json").read_text())
    project = (ROOT / "pyproject.toml").read_text()
    assert f'\nversion = "{meta["version"]}"\n' in project
    assert f'\nlicense = "{meta["license"]}"\n' in project


def test_node_streams_an_answer_with_it(app: Path, stack: Stack) -> None:
    shutil.copy(CONSUMER / "ask.mjs", app)
    shown = run(*("node", "ask.mjs", stack.gateway, stack.token("npm"), "say: Hel|lo"), folder=app)
    assert json.loads(shown)[-1] == "Hello"


@pytest.mark.parametrize(
    ("module", "resolution"), [("nodenext", "nodenext"), ("esnext", "bundler")]
)
def test_typescript_knows_its_types(app: Path, tools: Path, module: str, resolution: str) -> None:
    shutil.copy(CONSUMER / "consumer.ts", app)
    for each in ("@ag-ui", "rxjs", "zod"):
        if (tools / each).exists():
            (app / "node_modules" / each).symlink_to(tools / each)
    options = {
        "strict": True,
        "noEmit": True,
        "target": "es2023",
        "module": module,
        "moduleResolution": resolution,
        "skipLibCheck": False,
        "types": [],
    }
    (app / "tsconfig.json").write_text(
        json.dumps({"files": ["consumer.ts"], "compilerOptions": options})
    )
    run(os.fspath(tools / ".bin/tsc"), "--project", "tsconfig.json", folder=app)
