"""What a process has imported by its first answer: where nothing runs, a user waits for each of these packages."""

import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.doubles import ModelServer, says
from tests.fixtures.database import TestDatabase
from tests.fixtures.functions import run_input
from tests.fixtures.processes import started

#: Bare FastAPI on uvicorn imports them, too.
BARE = {
    *("fastapi", "starlette", "anyio", "opentelemetry", "uvicorn", "click", "uvloop", "httptools"),
    *("pydantic", "pydantic_core", "annotated_types", "annotated_doc"),
    *("typing_extensions", "typing_inspection"),
    # Where they are installed.
    *("python_multipart", "sniffio", "_distutils_hack"),
}
#: Milliseconds of CPU on Python 3.11. A package that is new here needs a reason, and its figure in docs/decisions.md.
OURS = {
    "aiohappyeyeballs": 1,
    "asyncpg": 26,
    "cryptography": 6,
    "_cffi_backend": 1,
    "orjson": 1,
    "pythonjsonlogger": 2,
}
#: Heavy parts of these packages, of which nothing is needed: 13 and 6 ms.
NEVER = {"cryptography.x509", "anyio._backends._asyncio"}


@pytest.mark.parametrize(
    ("function", "mark"), [("assistant", "TEXT_MESSAGE_CONTENT"), ("threads", '"next":')]
)
async def test_a_user_waits_for_no_other_package(
    function: str,
    mark: str,
    database: TestDatabase,
    model: ModelServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MARK", mark)
    monkeypatch.setenv("NAMES", str(tmp_path / "names"))
    if function == "assistant":
        model.will(says("hello"))
    async with started(function, database, model, module="tests.fixtures.imports") as process:
        person = await process.new_person()
        person.function = function
        if function == "assistant":
            await person.run(run_input("hi"))
        else:
            assert (await person.request("GET", "/threads")).status_code == 200

    imported = set((tmp_path / "names").read_text().split("\n"))
    roots = {name.partition(".")[0] for name in imported} - sys.stdlib_module_names
    assert roots & packages_distributions().keys() - {"tests"} <= BARE | OURS.keys()
    assert not NEVER & imported
