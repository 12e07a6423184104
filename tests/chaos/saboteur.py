"""The saboteur: kills, deletes and freezes pods and cuts off Postgres, at moments a seed decides."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from time import time

import asyncpg

from tests.chaos.cables import Cable
from tests.chaos.fleet import Fleet
from tests.platform.pod import Pod

_POLL = 0.05
#: No run may be without a process for longer, in seconds. If the sender of a dispatch dies, its mark blocks others for
#: a minute; then come the next sweep, the start of a pod and two looks.
RECOVERY_LIMIT = 75.0
_LIVE = """
select run.client_run_id, lease.attempt from agent.lease join agent.run on run.id = lease.run_id
 where run.status = 'in_progress' and lease.token is not null
"""
_HELD = """
select run.client_run_id, lease.attempt, run.ended_at is not null as ended, lease.token is not null as held
  from agent.run left join agent.lease on lease.run_id = run.id where run.client_run_id = any ($1)
"""


@dataclass
class Victim:
    """A run whose process was killed."""

    run: str
    attempt: int
    at: float
    recovered_after: float | None = None
    #: Something else was broken while it waited.
    is_hit_twice: bool = False


@dataclass
class Saboteur:
    """Performs `kills` acts. `victims` are the runs whose process was killed.

    `hit` are the attempts that an act may have ended before their run: to delete a pod gracefully ends none.
    """

    fleet: Fleet
    cable: Cable
    drawn: random.Random
    lease: float
    owner: "asyncpg.Pool[asyncpg.Record]"
    progress: Callable[[str], None]
    acts: Counter[str] = field(default_factory=Counter)
    victims: list[Victim] = field(default_factory=list)
    hit: set[tuple[str, int]] = field(default_factory=set)

    async def work(self, kills: int) -> None:
        """Perform all acts, each at a moment when there is something to break, and wait until all victims recovered."""
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(self._watch())
            while sum(self.acts.values()) < kills:
                await self.fleet.whole()
                await asyncio.sleep(self.drawn.uniform(0.1, 1.2))
                await self._act()
                self.progress(f"{sum(self.acts.values())} of {kills} acts")
            self.progress("waiting for all victims to recover")
            await self._recovered()
            watching.cancel()

    async def _recovered(self) -> None:
        # The check reports who has not.
        with suppress(TimeoutError):
            async with asyncio.timeout(RECOVERY_LIMIT):
                while any(victim.recovered_after is None for victim in self.victims):  # noqa: ASYNC110  # see `_watch`
                    await asyncio.sleep(_POLL)

    async def _act(self) -> None:
        ways = ("kill", "delete", "freeze", "pause")
        how = self.drawn.choices(ways, (50, 30, 16, 4))[0]
        if how == "pause":
            self.acts[how] += 1
            await self._pause()
            return
        pods = [pod for pod in self.fleet.pods if not pod.is_frozen and pod.holds()]
        if not pods:
            return
        pod = self.drawn.choice(pods)
        held = pod.holds() & await self._live()
        if not held:
            return
        self.acts[how] += 1
        match how:
            case "kill":
                self._kill(pod, held)
            case "delete":
                await self.fleet.platform.delete(pod)
            case _:
                await self._freeze(pod)

    async def _live(self) -> set[tuple[str, int]]:
        """The attempts in progress: (run id of the client, attempt)."""
        return {(row["client_run_id"], row["attempt"]) for row in await self.owner.fetch(_LIVE)}

    def _kill(self, pod: Pod, held: set[tuple[str, int]]) -> None:
        pod.kill()
        self.hit |= pod.holds()
        self.victims += [Victim(run, attempt, time()) for run, attempt in sorted(held)]

    async def _freeze(self, pod: Pod) -> None:
        """Freeze a pod until its leases have expired: it must detect that other processes hold its runs."""
        self._hit_twice()
        pod.freeze()
        await asyncio.sleep(self.lease * self.drawn.uniform(1.2, 2.0))
        pod.thaw()
        self.hit |= pod.holds()

    async def _pause(self) -> None:
        self._hit_twice()
        self.hit |= await self._live()
        await self.cable.pause(self.lease * self.drawn.uniform(0.2, 1.5))
        self.hit |= await self._live()

    def _hit_twice(self) -> None:
        for victim in self.victims:
            victim.is_hit_twice = victim.is_hit_twice or victim.recovered_after is None

    async def _watch(self) -> None:
        """Record when each victim has a holder again, or has ended."""
        while True:
            open_ = [victim for victim in self.victims if victim.recovered_after is None]
            if open_:
                rows = await self.owner.fetch(_HELD, [victim.run for victim in open_])
                now, found = time(), {row["client_run_id"]: row for row in rows}
                for victim in open_:
                    row = found[victim.run]
                    if row["ended"] or (row["held"] and row["attempt"] > victim.attempt):
                        victim.recovered_after = now - victim.at
            await asyncio.sleep(_POLL)
