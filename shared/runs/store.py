"""A run's transitions in Postgres, one statement each: admit, claim, read, cancel.

The rules are in `supabase/migrations/*_admission.sql` and `*_lease.sql`; this module gives them types.
"""

from collections.abc import Sequence
from time import monotonic
from typing import Any
from uuid import UUID

from shared.core import (
    Json,
    RunNotFound,
    Settings,
    Snapshot,
    ThreadBusy,
    problem_of,
)
from shared.database import Database, Refused
from shared.runs.agents import Refusal
from shared.runs.history import HISTORY_ITEMS
from shared.runs.results import (
    EndedByClaim,
    Leased,
    NotLeased,
    RunView,
    Suspected,
    UnknownAgent,
)


class RunStore:
    """The transitions of runs. Every method is one round trip, and raises Unavailable if Postgres is away."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._lease = {
            "seconds": settings.lease_seconds,
            # An attempt that ends with its process is also a try of the open turn: one number limits both.
            "max_unfinished_attempts": settings.max_turn_tries,
            "max_stalled_attempts": settings.max_stalled_attempts,
            "history": HISTORY_ITEMS,
            "grace": settings.takeover_grace_seconds,
        }
        self._limits = {
            "daily_tokens": settings.daily_tokens_per_user,
            "max_hours": settings.max_run_age_hours,
        }

    async def start(
        self, claims: Json, request: Json, *, lease: bool = True
    ) -> "Leased | NotLeased":
        """Admit a run: it is leased to this process, or waits for a process, or is attached: it was admitted before.

        `lease` false: it waits in any case.

        Raises:
            ThreadBusy, RunIdReused, NothingToAnswer, RewindTargetUnknown, InterruptOpen, InterruptResolved,
            InterruptExpired, InterruptOfAnotherAgent, BudgetExceeded, ThreadDeleted: see each.
        """
        wanted, since = self._lease if lease else None, monotonic()
        row = await self._call("start_run", claims, request, wanted, self._limits)
        if row["outcome"] == "leased":
            return Leased.from_row(row, since)
        return NotLeased(row["run_id"], row["outcome"] == "attached", row.get("run_id_to_place"))

    async def claim(
        self, run_id: str, agents: Sequence[str]
    ) -> "Leased | Suspected | UnknownAgent | EndedByClaim | None":
        """Claim a waiting run for a process with these agents. None: another process holds it, or it does not wait."""
        since, wanted = monotonic(), {**self._lease, "agents": agents}
        try:
            row = await self._call("claim_run", run_id, wanted, self._limits)
        except RunNotFound:
            # Its thread was deleted at this moment: the next claim cancels the run.
            return None
        if row is None or "token" in row:
            return row and Leased.from_row(row, since)
        if "unknown_agent" in row:
            return UnknownAgent(row["unknown_agent"])
        if "suspected" in row:
            return Suspected(row["suspected"])
        return EndedByClaim(row["next_queued_run"])

    async def refuse(self, run_id: str, reason: Refusal) -> EndedByClaim | None:
        """Refuse a run that no runner of this revision can execute. None: it waits; later refusals may end it."""
        row = await self._call("refuse_run", run_id, reason)
        return row and EndedByClaim(row["next_queued_run"])

    async def tokens_left(self, claims: Json) -> int | None:
        """How many tokens the user has left today; None without a limit."""
        daily = self._limits["daily_tokens"]
        if not daily:
            return None
        return await self._call("tokens_left", UUID(claims["sub"]), daily)  # type: ignore[no-any-return]

    async def limit_usage(self, claims: Json, run_id: str) -> Json:
        """How many tool calls a run has started, and how many tokens its user has left today (None without a limit).

        Returns {tool_calls, tokens_left}.

        Raises:
            RunNotFound: it was deleted.
        """
        used = await self._call("limit_usage", claims, UUID(run_id), self._limits)
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
        return row["run_id"], row["status"], row["next_queued_run"]

    async def _call(self, function: str, *arguments: Any) -> Any:
        try:
            return await self._database.call(function, *arguments)
        except Refused as refused:
            problem = problem_of(refused.code)
            if isinstance(problem, ThreadBusy):
                problem.run_id_to_place = refused.detail or None
            raise problem from None
