"""What can be wrong with a server: in words for a model, and as facts for a log line and a span."""

from typing import Final, Literal

from shared.core import Json, clean

#: `unreachable`: the request was never sent. `broke_off`: after it was sent. `unauthorized`: 401 or 403. `redirected`:
#: to another host. `http_error`: another status, without an answer of MCP. `refused`: a JSON-RPC error.
#: `too_large`: the answer. `not_mcp`: the answer is none of MCP.
Fault = Literal[
    "unreachable",
    "broke_off",
    "timed_out",
    "unauthorized",
    "redirected",
    "http_error",
    "refused",
    "too_large",
    "not_mcp",
]
_CHARACTERS: Final = 2000
_UNAUTHORIZED: Final = frozenset((401, 403))


class ServerFailed(Exception):
    """A server did not respond, or not as MCP says.

    The message is for models: it may quote the server, so that no log has it. Logs have the `facts`.
    `may_have_run`: the call may have had its effect.
    """

    def __init__(
        self,
        message: str,
        fault: Fault,
        *,
        status: int | None = None,
        code: int | None = None,
        may_have_run: bool = False,
    ) -> None:
        super().__init__(message)
        self.fault = fault
        self.status = status
        self.code = code
        self.may_have_run = may_have_run

    @property
    def facts(self) -> Json:
        """The fault, the HTTP status and the JSON-RPC code, without those that are unknown."""
        facts = {"fault": self.fault, "status": self.status, "code": self.code}
        return {name: value for name, value in facts.items() if value is not None}


class Refusal(Exception):
    """The server did not execute a request: it answered with a JSON-RPC error, or with no JSON-RPC at all."""

    def __init__(self, status: int, code: int | None = None, message: object = None) -> None:
        super().__init__(f"{status}, {code}")
        self.status = status
        self.code = code
        self._message = message

    def failure(self) -> ServerFailed:
        """The refusal as a failure. It quotes the server's message, with which a model can correct its call."""
        if self.code is not None:
            words = (
                f": {clean(self._message)[:_CHARACTERS]}" if isinstance(self._message, str) else "."
            )
            message = f"The tool's server refused the request ({self.code}){words}"
            return ServerFailed(message, "refused", status=self.status, code=self.code)
        if self.status in _UNAUTHORIZED:
            message = f"The tool's server did not accept our credentials ({self.status})."
            return ServerFailed(message, "unauthorized", status=self.status)
        message = f"The tool's server answered {self.status}."
        return ServerFailed(message, "http_error", status=self.status)


def refusal_of(status: int, error: object) -> Refusal:
    """The refusal that a JSON-RPC error is. A code that is no number counts as 0."""
    fields = error if isinstance(error, dict) else {}
    code = fields.get("code")
    return Refusal(status, code if isinstance(code, int) else 0, fields.get("message"))
