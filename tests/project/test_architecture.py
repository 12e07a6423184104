"""Rules of imports between packages, of vendors' owners, and of the size of code."""

import ast
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

#: Packages of `shared`, lowest first: one imports only those before it, and only what their faces name.
PACKAGES = ("core", "database", "auth", "models", "runs", "agents", "mcp", "http", "doctor")
OWNERS = {
    "databases": "shared/database/sessions.py",
    "asyncpg": "shared/database/pool.py",
    "httptools": "shared/models/http/exchange.py",
    "mangum": "shared/aws.py",
    "opentelemetry": "shared/core/telemetry.py",
    "pythonjsonlogger": "shared/core/log.py",
    "cryptography": "shared/auth/signatures.py",
    "jsonschema_rs": "shared/agents/schemas.py",
}
HEAVY = {
    "openai",
    "databases",
    "sqlalchemy",
    "aiohttp",
    "mcp",
    "cloudevents",
    "opentelemetry.sdk",
    "opentelemetry.exporter",
    "mangum",
}
NO_HTTP = ("database", "models", "runs", "agents")
AG_UI = re.compile(
    r"RUN_STARTED|TEXT_MESSAGE|TOOL_CALL_|MESSAGES_SNAPSHOT|threadId|toolCallId|messageId"
)


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    """The imports of a module, also those inside functions, as dotted names."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_shared_holds_packages_and_the_handler_of_lambda() -> None:
    found = {path.name for path in (ROOT / "shared").iterdir()} - {"__init__.py", "__pycache__"}
    assert found == {*PACKAGES, "aws.py"}


@pytest.mark.parametrize("path", sources("shared"), ids=name)
def test_a_package_of_shared_imports_only_packages_below_it(path: Path) -> None:
    own = package(path)
    for imported in imports(path):
        parts = imported.split(".")
        assert parts[0] not in ("functions", "knative", "local", "tests"), imported
        if own and parts[0] == "shared" and len(parts) > 1:
            assert PACKAGES.index(parts[1]) <= PACKAGES.index(own), imported


@pytest.mark.parametrize(
    "path", sources("shared", "functions", "local", "knative", "bench"), ids=name
)
def test_a_package_is_used_only_through_the_names_in_its_face(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            assert not [a.name for a in node.names if a.name.startswith("shared")], node.lineno
        if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("shared"):
            continue
        used = str(node.module).split(".")[1:]
        if used == ["aws"] or used[:1] == [package(path)]:
            continue
        assert len(used) == 1, f"{node.module} is an inner module"
        assert {alias.name for alias in node.names} <= face(used[0]), node.module


def package(path: Path) -> str | None:
    """The package of `shared` that a module is in."""
    parts = path.relative_to(ROOT).parts
    return parts[1] if parts[0] == "shared" and len(parts) > 2 else None


def face(package: str) -> set[str]:
    """The names that a package has for others: its `__all__`."""
    for node in ast.parse((ROOT / f"shared/{package}/__init__.py").read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return set(ast.literal_eval(node.value))
    raise AssertionError(f"{package} has no face")


@pytest.mark.parametrize("path", sources("functions"), ids=name)
def test_a_function_imports_shared_and_itself(path: Path) -> None:
    own = path.relative_to(ROOT / "functions").parts[0]
    # `__main__.py` reads the list of functions, and so does the function that executes the runs of all agents.
    may_use = {own, "registry"} if own.endswith(".py") or own == "runner" else {own}
    if own == "__main__.py":
        may_use |= {"importing", "packages"}
    for imported in imports(path):
        parts = imported.split(".")
        assert parts[0] not in ("knative", "local", "tests"), imported
        if parts[0] == "functions" and len(parts) > 1:
            assert parts[1] in may_use, imported


@pytest.mark.parametrize("path", sources("shared", "functions"), ids=name)
def test_a_vendors_library_is_imported_by_one_owner(path: Path) -> None:
    for imported in imports(path):
        owner = OWNERS.get(imported.partition(".")[0])
        assert owner in (None, name(path)), imported


@pytest.mark.parametrize("package", NO_HTTP)
def test_packages_that_execute_runs_import_no_http_framework(package: str) -> None:
    for path in sources(f"shared/{package}"):
        vendors = {imported.partition(".")[0] for imported in imports(path)}
        assert not vendors & {"fastapi", "starlette", "uvicorn"}, path


@pytest.mark.parametrize("path", sources("shared", "functions"), ids=name)
def test_ag_ui_is_implemented_in_one_place(path: Path) -> None:
    if not name(path).startswith("shared/http/wires/agui/"):
        code = re.sub(r'""".*?"""', "", path.read_text(), flags=re.DOTALL)
        assert not AG_UI.search(code)


@pytest.mark.parametrize("path", sources("tests"), ids=name)
def test_no_test_file_is_imported(path: Path) -> None:
    for imported in imports(path):
        parts = imported.split(".")
        files = [part for part in parts[1:] if part.startswith("test_") or part == "conftest"]
        assert parts[0] != "tests" or not files, (
            f"{imported}: what tests share is in a module of its own"
        )


def test_nothing_happens_at_import_and_nothing_heavy_is_imported() -> None:
    modules = [name(path)[:-3].replace("/", ".") for path in sources("shared", "functions")]
    # Only Lambda imports Lambda's module.
    left_out = ("__main__", "shared.aws")
    wanted = [m.removesuffix(".__init__") for m in modules if not m.endswith(left_out)]
    # Ruff checks which modules read the environment (TID251).
    script = f"""
import socket, sys, threading
socket.socket.connect = socket.socket.bind = None
for module in {wanted!r}:
    __import__(module)
assert threading.active_count() == 1, threading.enumerate()
heavy = {HEAVY!r} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def functions(path: Path) -> Iterator[int]:
    """The lengths of a module's functions in lines, docstrings left out."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            yield (node.end_lineno or 0) - body[0].lineno + 1 if body else 0


def test_code_stays_small_enough_to_read() -> None:
    for path in sources("shared", "functions", "local", "knative"):
        assert len(path.read_text().splitlines()) <= 250, name(path)
    lengths = [
        n for path in sources("shared", "functions", "local", "knative") for n in functions(path)
    ]
    assert statistics.median(lengths) < 10
    assert max(lengths) <= 50


def test_every_problem_is_in_the_table_and_in_the_docs() -> None:
    from shared.core import errors as problems
    from shared.http.problems import STATUS

    kinds = [kind for kind in vars(problems).values() if isinstance(kind, type)]
    codes = {kind.code for kind in kinds if issubclass(kind, problems.Problem)}
    documented = (ROOT / "docs/api.md").read_text()
    assert codes <= STATUS.keys()
    for code, status in STATUS.items():
        assert re.search(rf"\| {status} \| `{code}` \|", documented), code
