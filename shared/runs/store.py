"""A run's transitions in Postgres, one statement each: admit, claim, read, cancel.

The rules are in `supabase/migrations/*_admission.sql` and `*_lease.sql`; this module gives them types.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any, Self
from uuid import UUID

from shared.core import (
    Answer,
    Item,
    Json,
    LogEvent,
    RunNotFound,
    Settings,
    Snapshot,
    ThreadBusy,
    Usage,
    decode,
    problem_of,
)
from shared.database import Database, Refused

#: How many of a thread's newest items a holder gets; the model gets those that fit its context.
_HISTORY_ITEMS = 1000


@dataclass(frozen=True, slots=True)
class RunView:
    """A run as its owner sees it. `held`: a process has its lease. `last_seq`: where the committed log ends."""

    run_id: str
    client_run_id: str
    client_thread_id: str
    client_parent_run_id: str | None
    status: str
    attempt: int
    last_seq: int
    held: bool
    pruned: bool
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

    `events` are those of the claim, which are in the log. `base`: where the log of earlier attempts ends.
    """

    run_id: str
    client_run_id: str
    client_thread_id: str
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
    calls_made: int = 0
    #: How many tokens the user has left today; None without a limit.
    tokens_left: int | None = None

    @classmethod
    def from_row(cls, row: Mapping[str, Any], since: float) -> Self:
        events = [event for part in row["events"] or () for event in decode(part)]
        plain = {
            n: row[n]
            for n in ("run_id", "client_run_id", "client_thread_id", "token", "attempt", "base")
        }
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
            used=sum(map(Usage.from_json, (row.get("spent") or {}).get("usage", ())), Usage()),
            calls_made=(row.get("spent") or {}).get("calls", 0),
            tokens_left=row.get("tokens_left"),
        )

    def view(self) -> RunView:
        """The run as its owner sees it, just claimed."""
        return RunView(
            run_id=self.run_id,
            client_run_id=self.client_run_id,
            client_thread_id=self.client_thread_id,
            client_parent_run_id=self.request.get("client_parent_run_id"),
            status="in_progress",
            attempt=self.attempt,
            last_seq=self.last_seq,
            held=True,
            pruned=False,
            ending=None,
        )


def ids_of(leased: Leased) -> dict[str, str | None]:
    """The ids that log lines about a run carry."""
    return {
        "run_id": leased.run_id,
        "client_run_id": leased.client_run_id,
        "client_thread_id": leased.client_thread_id,
        "user_id": leased.claims.get("sub"),
    }


@dataclass(frozen=True, slots=True)
class Suspected:
    """A run whose lease has expired. Its holder may only be late, so a claim needs a second look."""


@dataclass(frozen=True, slots=True)
class Over:
    """A run that the claim ended, because it was tried too often or is too old. `next_run`: its thread's next one."""

    next_run: str | None


@dataclass(frozen=True, slots=True)
class Waiting:
    """A run that another process executes, now or later.

    `unheld_run_id`: the run it waits for, if no process holds that one.
    """

    run_id: str
    is_known: bool
    unheld_run_id: str | None


class RunStore:
    """The transitions of runs. Every method is one round trip, and raises Unavailable if Postgres is away."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._lease = {
            "seconds": settings.lease_seconds,
            "max_attempts": settings.model_attempts,
            "max_stalled_attempts": settings.max_stalled_attempts,
            "history": _HISTORY_ITEMS,
            "grace": settings.takeover_grace_seconds,
        }
        self._limits = {
            "daily_tokens": settings.daily_tokens_per_user,
            "max_hours": settings.max_run_age_hours,
        }

    async def start(self, claims: Json, request: Json, *, lease: bool = True) -> "Leased | Waiting":
        """Admit a run: it is leased to this process, or waits in its thread's queue, or is known already.

        Raises:
            ThreadBusy, RunIdReused, NothingToAnswer, RewindTargetUnknown, InterruptOpen, InterruptResolved,
            InterruptExpired, BudgetExceeded, ThreadDeleted: see each.
        """
        wanted, since = self._lease if lease else None, monotonic()
        row = await self._call("start_run", claims, request, wanted, self._limits)
        if row["outcome"] == "leased":
            return Leased.from_row(row, since)
        return Waiting(row["run_id"], row["outcome"] == "attached", row.get("unheld_run_id"))

    async def claim(self, run_id: str) -> "Leased | Suspected | Over | None":
        """Claim a run that waits. None: another process holds it, or it does not wait."""
        since = monotonic()
        try:
            row = await self._call("claim_run", run_id, self._lease, self._limits)
        except RunNotFound:
            # Its thread was deleted in this moment: the next claim cancels the run.
            return None
        if row is None or "token" in row:
            return row and Leased.from_row(row, since)
        return Suspected() if "suspected" in row else Over(row["next_run"])

    async def tokens_left(self, claims: Json) -> int | None:
        """How many tokens the user has left today; None without a limit."""
        daily = self._limits["daily_tokens"]
        if not daily:
            return None
        return await self._call("tokens_left", UUID(claims["sub"]), daily)  # type: ignore[no-any-return]

    async def limits(self, claims: Json, run_id: str) -> Json:
        """A run's use of its limits: {tool_calls, tokens_left}; `tokens_left` is None without a limit.

        Raises:
            RunNotFound: it was deleted.
        """
        used = await self._call("used_limits", claims, UUID(run_id), self._limits)
        if used is None:
            raise RunNotFound
        return used  # type: ignore[no-any-return]  # that JSON

    async def find(
        self, claims: Json, *, client_run_id: str | None, client_thread_id: str | None = None
    ) -> RunView:
        """A run of this user, by its id or as the latest of a thread.

        Raises:
            RunNotFound: there is none, or it belongs to another user.
        """
        return RunView(**await self._call("find_run", claims, client_run_id, client_thread_id))

    async def snapshot(self, claims: Json, run_id: str) -> Snapshot:
        """The thread as the committed log of this run shows it, and the position that it shows."""
        return Snapshot.from_row(await self._call("read_snapshot", claims, run_id))

    async def cancel(
        self, claims: Json, client_run_id: str, request_id: str
    ) -> tuple[str, str, str | None]:
        """Cancel a run. Returns its id, its status, and the thread's next run.

        While a process holds the run, it only gets a mark: its status is still `in_progress`, and there is no next run.

        Raises:
            RunNotFound: there is none, or it belongs to another user.
        """
        row = await self._call("cancel_run", claims, client_run_id, request_id)
        return row["run_id"], row["status"], row["next_run"]

    async def _call(self, function: str, *arguments: Any) -> Any:
        try:
            return await self._database.call(function, *arguments)
        except Refused as refused:
            problem = problem_of(refused.code)
            if isinstance(problem, ThreadBusy):
                problem.unheld_run_id = refused.detail or None
            raise problem from None
