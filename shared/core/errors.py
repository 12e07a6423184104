"""What goes wrong and has a name on the wire: one class per stable code. This module imports nothing of ours."""

from time import time
from typing import ClassVar, Final

DAY_SECONDS: Final = 86_400


def seconds_to_tomorrow() -> int:
    """Until the day's tokens are new ones: the day is UTC's."""
    return DAY_SECONDS - int(time()) % DAY_SECONDS


class Problem(Exception):
    """Something has gone wrong that has a name on the wire (RFC 9457).

    `code` is stable, the detail is a sentence for people: by default the docstring.
    """

    code: ClassVar[str] = "internal_error"

    def __init__(self, detail: str | None = None, *, retry_after: int | None = None) -> None:
        self.detail = detail or (type(self).__doc__ or "").strip()
        self.retry_after = retry_after
        super().__init__(self.detail)


class Unauthorized(Problem):
    """The request carries no valid proof of who is asking."""

    code = "unauthorized"


class Forbidden(Problem):
    """The request's Host or Origin is not one this function answers to."""

    code = "forbidden"


class InvalidRequest(Problem):
    """The request is not what this address takes."""

    code = "invalid_request"


class InvalidCursor(Problem):
    """The cursor cannot be read."""

    code = "invalid_cursor"


class BodyTooLarge(Problem):
    """The request's body is larger than this address takes."""

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
    """This thread was deleted; its id can be used again once it was removed for good."""

    code = "thread_deleted"


class IdempotencyKeyReused(Problem):
    """This Idempotency-Key was used for a thread with another body."""

    code = "idempotency_key_reused"


class PreconditionFailed(Problem):
    """The thread is not as `If-Match` says any more: read it again."""

    code = "precondition_failed"


class RunIdReused(Problem):
    """This runId already names a run with another request."""

    code = "run_id_reused"


class ThreadBusy(Problem):
    """The thread has a run that has not ended."""

    code = "thread_busy"
    #: That run, where nobody holds it any more.
    orphan: str | None = None


class NothingToAnswer(Problem):
    """The request says nothing new, and the thread does not end with something to answer."""

    code = "nothing_to_answer"


class RewindTargetUnknown(Problem):
    """`rewindTo` names no message of this thread."""

    code = "rewind_target_unknown"


class InterruptOpen(Problem):
    """The thread waits for an answer that this request does not give."""

    code = "interrupt_open"


class InterruptResolved(Problem):
    """That interrupt was answered already."""

    code = "interrupt_resolved"


class InterruptExpired(Problem):
    """That interrupt waited too long for its answer; a new message goes on without it."""

    code = "interrupt_expired"


class BudgetExceeded(Problem):
    """The user's tokens of today are spent; there are new ones tomorrow (UTC)."""

    code = "budget_exceeded"

    def __init__(self) -> None:
        super().__init__(retry_after=seconds_to_tomorrow())


class TooManyRuns(Problem):
    """This process runs as many runs as it may; try again."""

    code = "too_many_runs"


class Unavailable(Problem):
    """Something this function needs cannot be reached; try again."""

    code = "unavailable"


class InvalidEvent(Problem):
    """The request is not a CloudEvent this function takes."""

    code = "invalid_event"


class UnsupportedMediaType(Problem):
    """Events come one by one, in binary mode or as application/cloudevents+json."""

    code = "unsupported_media_type"


def problem_of(code: str) -> Problem:
    """The problem with this code, as the database raised it; one of ours to mend where none has it."""
    return next((kind for kind in Problem.__subclasses__() if kind.code == code), Problem)()


def meanings() -> dict[str, str]:
    """What each code means, in the sentence that people get."""
    return {kind.code: (kind.__doc__ or "").strip() for kind in Problem.__subclasses__()}
