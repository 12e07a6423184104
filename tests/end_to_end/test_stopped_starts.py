"""What stops the start of the stack is one sentence that says what to do."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from local import CannotStart, database
from local.children import Children
from local.environment import ROOT
from local.keys import Keys
from local.probe import free_port
from tests.fixtures.place import Place
from tests.fixtures.stack import stack_folder


@pytest.fixture(scope="module")
def kept() -> Iterator[Path]:
    """The folder of an earlier start's server."""
    with stack_folder() as folder:
        _start(folder)
        yield folder


def _start(folder: Path) -> list[str]:
    said: list[str] = []
    with Children(folder / "logs") as children:
        database.start(
            children,
            folder / "postgres",
            port=free_port(),
            pg_bin="",
            keeps_data=True,
            say=said.append,
        )
    return said


def test_the_first_start_says_that_it_creates_the_data(kept: Path) -> None:
    assert _start(kept) == []
    with stack_folder() as folder:
        assert "creating its data" in _start(folder)[0]


@pytest.mark.parametrize(
    ("file", "content", "sentence"),
    [
        ("data/PG_VERSION", "9\n", "are of Postgres 9, and this is Postgres "),
        ("data/PG_VERSION", None, "are incomplete"),
        ("data/global/pg_control", None, "are incomplete"),
        ("password", None, "have lost their file `password`"),
        ("password", "another", "have another password than its file `password`"),
    ],
)
def test_data_that_cannot_be_used_are_named(
    kept: Path, file: str, content: str | None, sentence: str
) -> None:
    path = (kept / "postgres").resolve() / file
    saved = path.rename(path.with_suffix(".saved"))
    if content is not None:
        shutil.copy(saved, path)
        path.write_text(content)
    try:
        with pytest.raises(CannotStart) as stopped:
            _start(kept)
    finally:
        saved.rename(path)
    assert sentence in str(stopped.value)
    assert "`make clean` deletes them" in str(stopped.value)
    assert "\n" not in str(stopped.value)


@pytest.mark.parametrize("text", ["{", "[]", ""])
def test_keys_that_cannot_be_read_are_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "keys.json"
    file.write_text(text)
    with pytest.raises(CannotStart, match=r"keys\.json has no keys: delete it"):
        Keys.of(file)


@pytest.fixture(scope="module")
def checkout() -> Iterator[Path]:
    """A copy of this checkout, as far as the stack needs it."""
    with stack_folder() as folder:
        for package in ("functions", "shared", "local", "supabase", "clients"):
            shutil.copytree(ROOT / package, folder / package)
        yield folder


@pytest.mark.parametrize(
    ("file", "line", "sentence"),
    [
        (
            "functions/assistant/app.py",
            "def (",
            "assistant cannot be imported: {at}: SyntaxError: ",
        ),
        ("functions/tools/weather.py", "def (", "tools cannot start: {at}: SyntaxError: "),
        ("functions/tools/notes.py", "1 / 0", "tools cannot start: {at}: ZeroDivisionError: "),
    ],
)
def test_a_fault_in_code_is_one_sentence_with_its_place(
    checkout: Path, place: Place, file: str, line: str, sentence: str
) -> None:
    path = checkout / file
    before = path.read_text()
    path.write_text(f"{before}{line}\n")
    try:
        stopped = Place(place.folder, checkout).run("dev")
    finally:
        path.write_text(before)
    at = f"{file}, line {before.count(chr(10)) + 1}"
    first, second = stopped.stderr.splitlines()
    assert stopped.returncode == 1
    assert sentence.format(at=at) in first
    assert second.endswith(".log has all that it wrote.")


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("MCP_SERVERS", "{canary", "ended: MCP_SERVERS is not JSON."),
        ("OPENAI_BASE_URL", "canary", "ended: OPENAI_BASE_URL is not an http(s) address"),
        ("LEGACY_JWT_SECRET", "canary", "ended: LEGACY_JWT_SECRET has fewer than 32 characters."),
        ("ALLOWED_ORIGINS", "nonsense", "gateway ended: ALLOWED_ORIGINS must list origins"),
    ],
)
def test_a_setting_that_a_part_refuses_is_one_sentence(
    place: Place, name: str, value: str, sentence: str
) -> None:
    stopped = place.run("dev", **{name: value})
    first, second = stopped.stderr.splitlines()
    assert stopped.returncode == 1
    assert sentence in first
    assert second.endswith(".log has all that it wrote.")
    assert "canary" not in stopped.stderr
