"""The caller of a tool: the user on whose behalf another function, or a client with a token, calls it."""

from dataclasses import dataclass

from shared.agents import RunContext, ToolUser


@dataclass(frozen=True, slots=True)
class Caller:
    """The user a call acts for, and the run if a run made the call."""

    user: ToolUser
    run_id: str | None = None
    request_id: str | None = None

    @property
    def run(self) -> RunContext | None:
        """The run as tools see it: only its id and its user are known here."""
        if self.run_id is None:
            return None
        return RunContext(id=self.run_id, user=self.user, request_id=self.request_id)
