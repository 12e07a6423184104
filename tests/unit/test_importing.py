"""A function whose code cannot be imported: one sentence says where and why."""

import sys
from pathlib import Path

import pytest

import functions
from functions.__main__ import main
from functions.importing import import_app
from functions.registry import InvalidFunctions

_CASES = {
    "x = (1,": "line 1: SyntaxError: '(' was never closed.",
    "a = 1\nb = a.nothing": "line 2: AttributeError: 'int' object has no attribute 'nothing'.",
    "import json\n\njson.loads('')": "line 3: JSONDecodeError: Expecting value",
    "import no_such_package": "line 1: ModuleNotFoundError: No module named 'no_such_package'.",
    "raise TypeError('Set one.\\n  Not two.')": "line 1: TypeError: Set one. Not two.",
}


_OTHER_NAME = """
from shared.agents import Agent
from shared.http import agent_app

app = agent_app("suport", Agent(instructions="Help."))
"""


def write(name: str, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A function's folder beside those of the checkout."""
    folder = tmp_path / "functions" / name.replace("-", "_")
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder / "app.py").write_text(code)
    monkeypatch.setattr(functions, "__path__", [*functions.__path__, str(tmp_path / "functions")])
    monkeypatch.setattr("functions.importing._FOLDER", tmp_path / "functions")
    return folder


def test_an_agent_of_another_name_than_its_folder_does_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("misnamed-one", _OTHER_NAME, tmp_path, monkeypatch)

    with pytest.raises(
        InvalidFunctions, match=r"agent_app\('suport', ...\): it must be 'misnamed-"
    ):
        import_app("misnamed-one")


@pytest.mark.parametrize(
    "code", ["agent = 1", "from fastapi import FastAPI\n\napp = FastAPI()"], ids=["none", "other"]
)
def test_a_file_without_the_app_of_a_function_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    name = f"appless-{abs(hash(code))}"
    folder = write(name, code, tmp_path, monkeypatch)

    with pytest.raises(InvalidFunctions) as raised:
        import_app(name)

    assert str(raised.value) == (
        f"functions/{folder.name}/app.py must have: app = agent_app({name!r}, ...)."
    )


@pytest.mark.parametrize(("code", "why"), _CASES.items())
def test_code_that_cannot_be_imported_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, why: str
) -> None:
    name = f"broken-{abs(hash(code))}"
    folder = write(name, code, tmp_path, monkeypatch)

    with pytest.raises(InvalidFunctions) as raised:
        import_app(name)

    place = f"functions/{folder.name}/app.py, {why}"
    assert str(raised.value).startswith(f"{name} cannot be imported: {place}")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("package", "arguments"),
    [("local.adding", ["add-to", "."]), ("local.scaffold", ["new", "support"])],
)
def test_a_command_without_a_checkout_says_what_it_needs(
    package: str,
    arguments: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    assert main(arguments) == 1
    assert capsys.readouterr().err == (
        "This command needs a checkout, and the packages that `make dev` installs there.\n"
    )
