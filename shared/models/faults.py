"""An error that a provider reports: which status, code and parameter it has, and whether it may pass.

The same rules hold for an error response and for an error in a stream. A provider's words are never kept, because they
may quote the user.
"""

import re
from typing import Any, Final, NamedTuple

from shared.core import Json
from shared.models.events import ContextOverflow, ModelFailed
from shared.models.overflow import says_overflow
from shared.models.shapes import members

_PASSING: Final = frozenset({408, 409, 429})
_STATUS: Final = range(400, 600)
#: A code or the name of a parameter, such as `tools[3].function.name`; anything else may be a sentence.
_WORD: Final = re.compile(r"[A-Za-z0-9_.\[\]-]{1,80}\Z")
#: Codes and types of errors that the same request would bring again, if no status says it.
_LASTING: Final = re.compile(
    r"invalid_|unsupported_|unknown_|missing_|authentication|permission|not_found|model_not_found|context_length|"
    r"content_policy|insufficient_quota|billing|string_above|array_above|bad_request"
)
#: Codes with which 429 does not mean "later".
_SPENT: Final = frozenset({"insufficient_quota", "billing_hard_limit_reached"})


class Fault(NamedTuple):
    """An error of a provider. `may_pass`: the same request may succeed later."""

    status: int | None
    code: str | None
    parameter: str | None
    may_pass: bool

    def __str__(self) -> str:
        known = ": ".join(word for word in (self.code, self.parameter) if word)
        return f"{self.status or 'an error'}{f' ({known})' if known else ''}"


def fault_of(reported: object, status: int | None = None) -> Fault:
    """The fault that an error's body describes: {error: {…}}, {error: text}, or the members themselves.

    `status`: that of the response, if the error is one.
    """
    outer = members(reported)
    error = members(outer.get("error")) or outer
    code, kind = _word(error.get("code")), _word(error.get("type"))
    status = status or _status(error)
    words = [word for word in (code, kind) if word and not word.isdigit()]
    parameter = _word(error.get("param") or error.get("parameter"))
    return Fault(status, next(iter(words), None), parameter, _may_pass(status, words))


def reported_error(reported: object = None) -> ModelFailed:
    """A provider's error in its own stream, as the same error response would be reported."""
    fault = fault_of(reported)
    if says_overflow(reported):
        return overflow(fault)
    code = "model_failed" if fault.may_pass else "model_rejected"
    message = "The model reported an error."
    if not fault.may_pass:
        message = f"The model's API answered {fault}."
    return failure(code, message, fault)


def failure(code: str, message: str, fault: Fault) -> ModelFailed:
    """The failure of a turn by a provider's fault."""
    return _with_facts(ModelFailed(code, message, retryable=fault.may_pass), fault)


def overflow(fault: Fault) -> ModelFailed:
    """The failure of a turn whose request is longer than the model's context."""
    return _with_facts(ContextOverflow(), fault)


def _with_facts(failed: ModelFailed, fault: Fault) -> ModelFailed:
    failed.status, failed.provider_code = fault.status, fault.code
    failed.parameter = fault.parameter
    return failed


def _status(error: Json) -> int | None:
    for value in map(error.get, ("status", "status_code", "code")):
        number = int(value) if isinstance(value, str) and value.isdecimal() else value
        if isinstance(number, int) and number in _STATUS:
            return number
    return None


def _word(value: Any) -> str | None:
    return value if isinstance(value, str) and _WORD.match(value) else None


def _may_pass(status: int | None, words: list[str]) -> bool:
    if status is None:
        return not any(map(_LASTING.match, words))
    return (status in _PASSING and _SPENT.isdisjoint(words)) or status >= 500
