"""What instructions and tools know of the run they serve, and what a tool can raise."""

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from shared.auth import role_of
from shared.core import Json
from shared.database import UserSession, naming_rejections


class Progress(Protocol):
    """Reports a call's progress to the user who waits. Any thread may call it, as often as it likes."""

    def __call__(self, done: float, total: float | None = None, message: str | None = None) -> None:
        """How much is done, of how much (None: unknown), and a sentence."""
        ...


@dataclass(frozen=True, slots=True)
class ToolUser:
    """The user on whose behalf a call is made, by the verified claims of their token."""

    claims: Mapping[str, Any] = field(repr=False)

    @property
    def id(self) -> str:
        """The user's id in `auth.users`."""
        return str(self.claims["sub"])

    @property
    def role(self) -> str | None:
        """The user's role in the app (`app_metadata.role`), which users cannot write."""
        return role_of(self.claims)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext:
    """A run, as its agent's own code sees it. `state` is the app's, as the client sent it with this run.

    `id` is the run's UUID; the client's ids are `client_run_id` and `client_thread_id`. A direct call of the function
    `tools` has only an id, or no RunContext at all.
    """

    id: str
    user: ToolUser
    agent: str = ""
    client_run_id: str = ""
    client_thread_id: str = ""
    request_id: str | None = None
    state: Any = None


def _ignore_progress(done: float, total: float | None = None, message: str | None = None) -> None:
    del done, total, message


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolContext:
    """What a tool gets beside its arguments, if its function has a parameter of this type.

    `key` is the call's idempotency key: a repeated call has the same key. `state` is the app's, as the client sent it
    with the run. `settings` are those the tool declared, and no others. `answers` are the user's answers to the tool's
    own questions, not validated, and `question_state` is the state of its last `InputRequired`; `capabilities` are the
    kinds of questions that the client can answer. `run` is None if no run makes the call.
    """

    user: ToolUser
    key: str
    database: Any = None
    run: RunContext | None = None
    state: Any = None
    settings: Mapping[str, str] = field(default_factory=dict, repr=False)
    answers: Mapping[str, Json] = field(default_factory=dict)
    question_state: Json | None = None
    capabilities: Collection[str] = ("form",)
    progress: Progress = _ignore_progress

    @asynccontextmanager
    async def session(self) -> AsyncIterator[UserSession]:
        """A transaction on the app's own tables as the call's user: row-level security decides about each row.

        It is committed when the block ends, and rolled back if the block raises. It holds one of the process's few
        connections, and each statement ends after DATABASE_SECONDS.

        Raises:
            WriteRejected: a policy or a constraint rejected a statement.
            Unavailable: Postgres cannot be reached, or a statement took too long.
        """
        with naming_rejections():
            async with self.database.session(dict(self.user.claims)) as session:
                yield session


class ToolError(Exception):
    """A failure, with a sentence for the model, which may say what to do instead. It must not contain secrets."""


class Denied(ToolError):
    """The user may not use this tool."""


class InputRequired(Exception):
    """The tool has questions first: for its user, {key: (message, JSON Schema of an object)}, or for an MCP client,
    {key: an MCP request (method, params)}.

    The tool then runs again from its start, with the answers and the state in its context. Meanwhile the client stores
    the state, which it can read and cannot change. The call ends if the user declines.

    Raises:
        TypeError: a schema is not that of an object, so no client could show a form for it.
    """

    def __init__(
        self, questions: Mapping[str, tuple[str, Json] | Json], state: Json | None = None
    ) -> None:
        super().__init__("the tool has questions")
        self.questions: dict[str, Json] = {
            key: question if isinstance(question, dict) else _form(key, *question)
            for key, question in questions.items()
        }
        self.state = state


def _form(key: str, message: str, schema: Json) -> Json:
    if schema.get("type", "object") != "object":
        raise TypeError(
            f"The question {key!r} needs the JSON Schema of an object, with a property for each value."
        )
    params = {"mode": "form", "message": message, "requestedSchema": schema}
    return {"method": "elicitation/create", "params": params}
