"""What a failure means: a run that fails, a tool call's result in words for the model, and a line in the log."""

from shared.agents.context import Denied, ToolError
from shared.agents.function_tool import FunctionTool
from shared.agents.tools import Result
from shared.core import Unavailable, error_facts, logger
from shared.database import Refused, WriteRejected

_SLOW = "The tool took too long and was stopped"


class RunFailed(Exception):
    """The run cannot be continued, for a reason that its user may know.

    `code`: of `RUN_ERROR`. `message`: a sentence for the user. `retryable`: the same run may succeed later.
    """

    def __init__(self, code: str, message: str, *, retryable: bool) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retryable = retryable


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
        case WriteRejected(reason=reason):
            return Result(f"The tool's database rejected this: {reason}.", "error")
        case Refused():
            return Result("The tool's database refused this.", "error")
    logger.error("tool.crashed", extra={"tool": tool.name, **error_facts(error)})
    return Result("The tool failed.", "error")
