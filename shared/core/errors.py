"""Errors that clients see: one class per stable code. This module imports nothing of ours."""

from time import time
from typing import ClassVar, Final

DAY_SECONDS: Final = 86_400


def seconds_to_tomorrow() -> int:
    """Seconds until the daily limits start anew, at midnight UTC."""
    return DAY_SECONDS - int(time()) % DAY_SECONDS


class Problem(Exception):
    """An error that a client can act on (RFC 9457).

    `code` is stable. `detail` is a sentence for people, by default the class's docstring. `retry_after`: seconds.
    `reason` is for the log only.
    """

    code: ClassVar[str] = "internal_error"
    reason: str = ""

    def __init__(self, detail: str | None = None, *, retry_after: int | None = None) -> None:
        self.detail = detail or (type(self).__doc__ or "").strip()
        self.retry_after = retry_after
        super().__init__(self.detail)


class Unauthorized(Problem):
    """The request carries no valid proof of who sends it."""

    code = "unauthorized"

    def __init__(self, reason: str = "") -> None:
        # A caller who tries out proofs must not learn what is wrong with them.
        self.reason = reason
        super().__init__()


class TokenTooLarge(Problem):
    """The access token is larger than 8192 bytes: keep large data out of the user's metadata and custom claims."""

    code = "token_too_large"


class Forbidden(Problem):
    """The request's Host or Origin is not allowed."""

    code = "forbidden"


class InvalidRequest(Problem):
    """The request is not valid for this address."""

    code = "invalid_request"


class InvalidCursor(Problem):
    """The cursor cannot be read."""

    code = "invalid_cursor"


class BodyTooLarge(Problem):
    """The request's body is larger than this function accepts."""

    code = "body_too_large"


class RunNotFound(Problem):
    """There is no such run."""

    code = "run_not_found"


class ThreadNotFound(Problem):
    """There is no such thread."""

    code = "thread_not_found"


class ThreadExists(Problem):
    """This threadId already names a thread."""

    code = "thread_exists"


class ThreadDeleted(Problem):
    """This thread was deleted; its id can be used again once retention has removed it for good."""

    code = "thread_deleted"


class IdempotencyKeyReused(Problem):
    """This Idempotency-Key was used for a thread with another body."""

    code = "idempotency_key_reused"


class PreconditionFailed(Problem):
    """The thread has changed since the version that `If-Match` names: read it again."""

    code = "precondition_failed"


class RunIdReused(Problem):
    """This runId already names a run with another request."""

    code = "run_id_reused"


class ThreadBusy(Problem):
    """The thread has a run that has not ended."""

    code = "thread_busy"
    #: The id of that run, if no process holds it.
    run_id_to_place: str | None = None


class NothingToAnswer(Problem):
    """The request brings no new message, and the thread does not end with one to answer."""

    code = "nothing_to_answer"


class ContentUnsupported(Problem):
    """The agent's model cannot take a part of this message."""

    code = "content_unsupported"


class RewindTargetUnknown(Problem):
    """`rewindTo` names no message of this thread."""

    code = "rewind_target_unknown"


class InterruptOpen(Problem):
    """The thread has an open interrupt that this request does not answer."""

    code = "interrupt_open"


class InterruptResolved(Problem):
    """That interrupt was answered already."""

    code = "interrupt_resolved"


class InterruptExpired(Problem):
    """That interrupt has expired: dismiss it (`status: cancelled`), or send a new message, to continue without it."""

    code = "interrupt_expired"


class InterruptOfAnotherAgent(Problem):
    """That interrupt belongs to a run of another agent: answer it at that agent's address."""

    code = "interrupt_of_another_agent"


class BudgetExceeded(Problem):
    """The user has spent today's tokens; the limit starts anew at midnight UTC."""

    code = "budget_exceeded"

    def __init__(self) -> None:
        super().__init__(retry_after=seconds_to_tomorrow())


class TooManyRuns(Problem):
    """This process is full, or it is stopping; try again."""

    code = "too_many_runs"


class Unavailable(Problem):
    """Something this function needs cannot be reached; try again."""

    code = "unavailable"


class AgentUnavailable(Problem):
    """The agent of this run cannot be executed here now; try again."""

    code = "agent_unavailable"


class InvalidEvent(Problem):
    """The request is not a CloudEvent that this function accepts."""

    code = "invalid_event"


class UnsupportedMediaType(Problem):
    """Send one event per request, in binary mode or as application/cloudevents+json."""

    code = "unsupported_media_type"


def problem_of(code: str) -> Problem:
    """The problem that has this code, which the database raised; a plain `Problem` if none has it."""
    if code == Unauthorized.code:
        return Unauthorized("token.of_a_deleted_user")
    return next((kind for kind in Problem.__subclasses__() if kind.code == code), Problem)()


def meanings() -> dict[str, str]:
    """Each code's default sentence."""
    return {kind.code: (kind.__doc__ or "").strip() for kind in Problem.__subclasses__()}
