"""A run's life in Postgres: admitted, claimed, read, cancelled. One statement per transition.

The rules are in `supabase/migrations/*_admission.sql` and `*_log.sql`; this module gives them types and names.
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
    RunEvent,
    RunNotFound,
    Settings,
    Snapshot,
    ThreadBusy,
    Usage,
    decode_known,
    problem_of,
)
from shared.database import Database, Refused

#: A thread's newest items, of which the model gets what fits its context.
_HISTORY_ITEMS = 1000


@dataclass(frozen=True, slots=True)
class RunView:
    """A run as its owner sees it. `held`: a process has its lease; `last_seq`: where the committed log ends."""

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
    """A run this process holds, with all it needs to answer: `events` are those of its claim, already in the log."""

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
    events: list[RunEvent]
    #: When it was asked for, in seconds of this process's clock: the answer may have been long on its way.
    since: float
    #: Calls that were started and have no result, by the id of the item their result would be.
    unfinished_calls: dict[str, str]
    #: What the user said to the questions of an earlier run.
    answers: Sequence[Answer] = ()
    #: What earlier holders of the run spent.
    used: Usage = Usage()  # noqa: RUF009  # a value
    calls_made: int = 0
    #: What is left of the user's tokens today; None where there is no limit.
    tokens_left: int | None = None

    @classmethod
    def from_row(cls, row: Mapping[str, Any], since: float) -> Self:
        events = [event for part in row["events"] or () for event in decode_known(part)]
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
            used=sum(
                (Usage(**spent) for spent in (row.get("spent") or {}).get("usage", ())), Usage()
            ),
            calls_made=(row.get("spent") or {}).get("calls", 0),
            tokens_left=row.get("tokens_left"),
        )

    def view(self) -> RunView:
        """The run as its owner sees it, just taken."""
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
    """A run whose lease ran out a moment ago: its holder may be late, so it is taken on a second look."""


@dataclass(frozen=True, slots=True)
class Over:
    """A run that was tried too often, or is too old, and has ended with that. `next_run` is the thread's next."""

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
    """The transitions of runs. Every method is one trip, and raises Unavailable when Postgres is away."""

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
        """Admit a run: leased to this process, or waiting in its thread's queue, or known already.

        Raises:
            ThreadBusy, RunIdReused, NothingToAnswer, RewindTargetUnknown, InterruptOpen, InterruptResolved,
            InterruptExpired, BudgetExceeded, ThreadDeleted: as named.
        """
        wanted, since = self._lease if lease else None, monotonic()
        row = await self._call("start_run", claims, request, wanted, self._limits)
        if row["outcome"] == "leased":
            return Leased.from_row(row, since)
        return Waiting(row["run_id"], row["outcome"] == "attached", row.get("unheld_run_id"))

    async def claim(self, run_id: str) -> "Leased | Suspected | Over | None":
        """Take a run that is queued on a free thread, or whose lease ran out. None: somebody else has it."""
        since = monotonic()
        row = await self._call("claim_run", run_id, self._lease, self._limits)
        if row is None or "token" in row:
            return row and Leased.from_row(row, since)
        return Suspected() if "suspected" in row else Over(row["next_run"])

    async def tokens_left(self, claims: Json) -> int | None:
        """What is left of the user's tokens today; None where there is no limit."""
        daily = self._limits["daily_tokens"]
        if not daily:
            return None
        return await self._call("tokens_left", UUID(claims["sub"]), daily)  # type: ignore[no-any-return]

    async def limits(self, claims: Json, run_id: str) -> Json:
        """What a run of the user's own has used of its limits: {tool_calls, tokens_left}, None where unlimited.

        Raises:
            RunNotFound: it was deleted meanwhile.
        """
        used = await self._call("used_limits", claims, UUID(run_id), self._limits)
        if used is None:
            raise RunNotFound
        return used  # type: ignore[no-any-return]  # that JSON

    async def find(
        self, claims: Json, *, client_run_id: str | None, client_thread_id: str | None = None
    ) -> RunView:
        """A run of the user's own, by its id or as the latest of a thread.

        Raises:
            RunNotFound: there is none, or it is somebody else's.
        """
        return RunView(**await self._call("find_run", claims, client_run_id, client_thread_id))

    async def snapshot(self, claims: Json, run_id: str) -> Snapshot:
        """The thread as the committed log of this run shows it, and the position to go on from."""
        return Snapshot.from_row(await self._call("read_snapshot", claims, run_id))

    async def cancel(
        self, claims: Json, client_run_id: str, request_id: str
    ) -> tuple[str, str, str | None]:
        """Ask for the end of a run. Returns its id, its status (old news while another process holds it), and the
        thread's next run, where it has ended.

        Raises:
            RunNotFound: there is none, or it is somebody else's.
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
