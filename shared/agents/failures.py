"""The result of a tool call that failed, in words for the model, and its line in the log."""

import traceback
from pathlib import Path

from shared.agents.context import Denied, ToolError
from shared.agents.function_tool import FunctionTool
from shared.agents.tools import Result
from shared.core import Unavailable, logger
from shared.database import Refused

_SLOW = "The tool took too long and was stopped"


def failure_of(tool: FunctionTool, error: Exception) -> Result:
    """The result of a call that failed. An error that no rule covers is logged."""
    match error:
        case Denied():
            return Result(str(error), "denied")
        case ToolError():
            return Result(str(error), "error")
        case TimeoutError() if tool.is_repeatable:
            return Result(f"{_SLOW}.", "error")
        case TimeoutError():
            return Result(f"{_SLOW}; it may or may not have had its effect.", "unknown")
        case Unavailable():
            return Result("The tool's database cannot be reached. Try again later.", "error")
        case Refused():
            return Result("The tool's database refused this.", "error")
    # The place and the kind, never the message: it may quote arguments or a secret.
    place = traceback.extract_tb(error.__traceback__)[-1]
    facts = {"error": type(error).__name__, "at": f"{Path(place.filename).name}:{place.lineno}"}
    logger.error("tool.crashed", extra={"tool": tool.name, **facts})
    return Result("The tool failed.", "error")
