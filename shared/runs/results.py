"""What the transitions of runs return."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, Self

from shared.core import Answer, Item, Json, LogEvent, Usage, decode

_PLAIN: Final = (
    *("run_id", "client_run_id", "client_thread_id", "agent"),
    *("token", "attempt", "base"),
)


@dataclass(frozen=True, slots=True)
class RunView:
    """A run as its user sees it.

    `last_seq`: where the committed log ends. `is_held`: a process has its lease. `is_pruned`: its deltas were deleted.
    """

    run_id: str
    client_run_id: str
    client_thread_id: str
    client_parent_run_id: str | None
    agent: str
    status: str
    attempt: int
    last_seq: int
    is_held: bool
    is_pruned: bool
    ending: Json | None
    created_at: str | None = None
    started_at: str | None = None
    ended_at: str | None = None

    @property
    def has_ended(self) -> bool:
        return self.ending is not None


@dataclass(frozen=True, slots=True)
class Leased:
    """A run whose lease this process got, with everything that executing it takes.

    `base`: where the log of earlier attempts ends. `events`: those that the claim itself appended after it.
    """

    run_id: str
    client_run_id: str
    client_thread_id: str
    #: The name of the agent that answers this run.
    agent: str
    token: str
    attempt: int
    base: int
    last_seq: int
    claims: Json
    request: Json
    items: list[Item]
    events: Sequence[LogEvent]
    #: When the lease was requested (`time.monotonic`): it may be older than the answer.
    since: float
    #: Calls that were started and have no result: the id of the item that each one's result would be.
    unfinished_calls: dict[str, str]
    #: The user's answers to the interrupts of an earlier run.
    answers: Sequence[Answer] = ()
    #: The tokens and calls that earlier attempts used.
    used: Usage = Usage()  # noqa: RUF009  # a value
    tool_calls_made: int = 0
    #: How many tokens the user has left today; None without a limit.
    tokens_left: int | None = None

    @classmethod
    def from_row(cls, row: Mapping[str, Any], since: float) -> Self:
        events = [event for part in row["events"] or () for event in decode(part)]
        plain = {name: row[name] for name in _PLAIN}
        return cls(
            **plain,
            last_seq=row["last_seq"],
            claims=row["claims"],
            request=row["request"],
            items=[Item.from_row(item) for item in row["items"]],
            events=events,
            since=since,
            unfinished_calls=row["unfinished_calls"],
            answers=[Answer(**answer) for answer in row.get("answers") or ()],
            used=sum(map(Usage.from_json, (row.get("used") or {}).get("usage", ())), Usage()),
            tool_calls_made=(row.get("used") or {}).get("calls", 0),
            tokens_left=row.get("tokens_left"),
        )

    @property
    def cache_key(self) -> str:
        """The same for all runs of a thread. It does not tell a provider whose thread this is."""
        return sha256(f"{self.claims.get('sub')} {self.client_thread_id}".encode()).hexdigest()[:32]

    def view(self) -> RunView:
        """The run as its user sees it at this moment."""
        return RunView(
            run_id=self.run_id,
            client_run_id=self.client_run_id,
            client_thread_id=self.client_thread_id,
            client_parent_run_id=self.request.get("client_parent_run_id"),
            agent=self.agent,
            status="in_progress",
            attempt=self.attempt,
            last_seq=self.last_seq,
            is_held=True,
            is_pruned=False,
            ending=None,
        )


def ids_of(leased: Leased) -> dict[str, str | None]:
    """The ids that log lines about a run carry."""
    return {
        "run_id": leased.run_id,
        "client_run_id": leased.client_run_id,
        "client_thread_id": leased.client_thread_id,
        "agent": leased.agent,
        "user_id": leased.claims.get("sub"),
    }


@dataclass(frozen=True, slots=True)
class Suspected:
    """A claim found that the run's lease has expired. The holder may only be late, so a second look is needed.

    `seconds`: when, from now on. If another process looked before, less than TAKEOVER_GRACE_SECONDS.
    """

    seconds: float


@dataclass(frozen=True, slots=True)
class UnknownAgent:
    """A claim was only a look, because the process has not loaded the agent of this name, which the run needs."""

    name: str


@dataclass(frozen=True, slots=True)
class EndedByClaim:
    """A claim ended the run: it was too old, it had too many attempts or stalls, or its thread was deleted.

    `next_queued_run`: the run that its thread continues with.
    """

    next_queued_run: str | None


@dataclass(frozen=True, slots=True)
class NotLeased:
    """A run that was admitted, but whose lease this process did not get: another process executes it, now or later.

    `is_attached`: an earlier request had the same client's id. `run_id_to_place`: the run of its thread that it waits
    for, if no process holds that one.
    """

    run_id: str
    is_attached: bool
    run_id_to_place: str | None
