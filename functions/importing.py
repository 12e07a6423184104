"""Imports the code of a function. What is wrong with it is one sentence."""

import importlib
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from functions.registry import InvalidFunctions, folder_of
from shared.core import InvalidSettings, loading

if TYPE_CHECKING:
    from shared.http import Function

_FOLDER = Path(__file__).parent


def import_app(name: str) -> "Function":
    """The app of a function.

    Raises:
        InvalidFunctions: its code cannot be imported, or names another agent; the message says where and why.
        InvalidSettings: it reads a setting that is wrong.
    """
    try:
        with loading():
            module = importlib.import_module(f"functions.{folder_of(name)}.app")
    except InvalidSettings:
        raise
    except Exception as error:
        raise InvalidFunctions(_sentence(f"{name} cannot be imported", error)) from error
    app: Any = getattr(module, "app", None)
    # It may also be another app, such as FastAPI().
    if not hasattr(app, "requires"):
        raise InvalidFunctions(
            f"functions/{folder_of(name)}/app.py must have: app = agent_app({name!r}, ...)."
        )
    # The gateway signs requests for the name in the list, so this agent would refuse all of them.
    if app.agent and app.title != name:
        raise InvalidFunctions(
            f"functions/{folder_of(name)}/app.py calls agent_app({app.title!r}, ...): it must be {name!r}, the folder's"
            " name with - for _."
        )
    function: Function = app
    return function


def why_not_started(name: str, error: Exception) -> str:
    """The sentence for an error of a function's start: of a setting, or of code such as a tool's."""
    return (
        str(error)
        if isinstance(error, InvalidSettings)
        else _sentence(f"{name} cannot start", error)
    )


def _sentence(what: str, error: Exception) -> str:
    return f"{what}: {_place_of(error)}: {_text_of(error)}."


def _place_of(error: Exception) -> str:
    """The file and the line that raised an error of the code in this folder, or the last ones in it."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{_relative(error.filename)}, line {error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    ours = [
        each
        for each in frames
        if each.filename != __file__ and Path(each.filename).is_relative_to(_FOLDER)
    ]
    last = (ours or frames)[-1]
    return f"{_relative(last.filename)}, line {last.lineno}"


def _relative(file: str) -> str:
    path = Path(file)
    return str(path.relative_to(_FOLDER.parent)) if path.is_relative_to(_FOLDER) else file


def _text_of(error: Exception) -> str:
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return f"{type(error).__name__}: {' '.join(text.split())}".rstrip(". ")
