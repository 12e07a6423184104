"""The statements about waiting runs: find them, mark them as dispatched, see whether a process holds them by now."""

from collections.abc import Iterable
from datetime import timedelta
from uuid import UUID

from shared.core import RunSettings
from shared.database import Database

#: Runs of one sweep; the next one takes the rest.
_SWEEP = 100
#: A holder is late when its last renewal is this many renewal periods old.
_LATE_PERIODS = 1.5


class WaitingRuns:
    """Finds and marks runs without a holder. Each method is one statement, and raises Unavailable if Postgres is away.

    A mark blocks a second dispatch for a minute. A claim clears it, and so does a late holder that renews its lease.
    """

    def __init__(self, database: Database, settings: RunSettings) -> None:
        self._database = database
        late_after = _LATE_PERIODS * settings.lease_renew_seconds
        self._seconds_left_when_late = settings.lease_seconds - late_after
        hours = (
            settings.keep_deltas_hours,
            settings.keep_events_hours,
            settings.keep_deleted_hours,
        )
        self._keep = [timedelta(hours=keep) for keep in hours]

    async def mark(self, run_id: str) -> bool:
        """Mark a run as dispatched. False: it does not wait, or was dispatched within the last minute."""
        return bool(await self._database.call("mark_dispatched", run_id))

    async def clear(self, run_ids: Iterable[str]) -> None:
        """Clear the marks of these runs, unless a process holds them by now.

        The next sweep or reader can then dispatch them at once.
        """
        await self._database.call("clear_dispatches", _uuids(run_ids))

    async def unheld(self, run_ids: Iterable[str]) -> set[str]:
        """Those of these runs that no process holds and that have not ended."""
        rows = await self._database.rows("unheld_runs", _uuids(run_ids))
        return {str(row["unheld_runs"]) for row in rows}

    async def sweep(self) -> list[str]:
        """Mark the oldest runs that wait, and return them."""
        return [str(row["sweep_runs"]) for row in await self._database.rows("sweep_runs", _SWEEP)]

    async def late_leases(self) -> list[tuple[str, float]]:
        """Runs whose holder is late to renew, and in how many seconds the lease of each expires."""
        rows = await self._database.rows("late_leases", self._seconds_left_when_late, _SWEEP)
        return [(str(row["run_id"]), row["due_in"]) for row in rows]

    async def prune(self) -> None:
        """Delete what is kept no longer, for a limited number of runs and threads."""
        await self._database.call("prune", *self._keep, _SWEEP)


def _uuids(run_ids: Iterable[str]) -> tuple[UUID, ...]:
    # The driver takes a list for JSON.
    return tuple(map(UUID, run_ids))
