"""The saboteur: kills, terminates and freezes processes and cuts off Postgres, at moments a seed decides."""

import asyncio
import random
import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from time import time

import asyncpg

from tests.chaos.fleet import Fleet, Pod
from tests.chaos.wires import Cable

_POLL = 0.05
_LIVE = """
select run.key, lease.attempt from agent.lease join agent.run on run.id = lease.run_id
 where run.status = 'in_progress' and lease.token is not null
"""
_HELD = """
select run.key, lease.attempt, run.ended_at is not null as ended, lease.token is not null as held
  from agent.run left join agent.lease on lease.run_id = run.id where run.key = any ($1)
"""


@dataclass
class Victim:
    """A run that lost its process."""

    run: str
    attempt: int
    how: str
    at: float
    recovered_after: float | None = None
    #: Something else was broken while it waited.
    is_hit_twice: bool = False


@dataclass
class Saboteur:
    """Does `kills` acts; the runs that were hit are `victims`."""

    fleet: Fleet
    cable: Cable
    drawn: random.Random
    lease: float
    owner: "asyncpg.Pool[asyncpg.Record]"
    tell: Callable[[str], None]
    acts: Counter[str] = field(default_factory=Counter)
    victims: list[Victim] = field(default_factory=list)

    async def work(self, kills: int) -> None:
        """All acts, each when there is something to break."""
        watching = asyncio.ensure_future(self._watch())
        try:
            while sum(self.acts.values()) < kills:
                await self.fleet.whole()
                await asyncio.sleep(self.drawn.uniform(0.1, 1.2))
                await self._act()
                self.tell(f"{sum(self.acts.values())} of {kills} acts")
            await asyncio.sleep(self.lease * 3)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    async def _act(self) -> None:
        ways = ("kill", "terminate", "freeze", "stall")
        how = self.drawn.choices(ways, (50, 30, 16, 4))[0]
        if how == "stall":
            self.acts[how] += 1
            await self._stall()
            return
        pods = [pod for pod in self.fleet.pods if pod.is_up and not pod.is_paused]
        pods = [pod for pod in pods if pod.holds()]
        if not pods:
            return
        pod = self.drawn.choice(pods)
        live = [(row["key"], row["attempt"]) for row in await self.owner.fetch(_LIVE)]
        held = pod.holds().intersection(live)
        if not held:
            return
        self.acts[how] += 1
        match how:
            case "kill":
                self._end(pod, held, signal.SIGKILL)
            case "terminate":
                self._end(pod, held, signal.SIGTERM)
            case _:
                await self._freeze(pod)

    def _end(self, pod: Pod, held: set[tuple[str, int]], number: signal.Signals) -> None:
        pod.send(number)
        self.victims += [Victim(run, attempt, number.name, time()) for run, attempt in sorted(held)]

    async def _freeze(self, pod: Pod) -> None:
        """Past its lease and back: it must notice that its runs are others' now."""
        self._hit_twice()
        pod.send(signal.SIGSTOP)
        await asyncio.sleep(self.lease * self.drawn.uniform(1.2, 2.0))
        pod.send(signal.SIGCONT)

    async def _stall(self) -> None:
        self._hit_twice()
        await self.cable.stall(self.lease * self.drawn.uniform(0.2, 1.5))

    def _hit_twice(self) -> None:
        for victim in self.victims:
            victim.is_hit_twice = victim.is_hit_twice or victim.recovered_after is None

    async def _watch(self) -> None:
        """See when each victim is in somebody's hands again, or has ended."""
        while True:
            open_ = [victim for victim in self.victims if victim.recovered_after is None]
            if open_:
                rows = await self.owner.fetch(_HELD, [victim.run for victim in open_])
                now, found = time(), {row["key"]: row for row in rows}
                for victim in open_:
                    row = found[victim.run]
                    if row["ended"] or (row["held"] and row["attempt"] > victim.attempt):
                        victim.recovered_after = now - victim.at
            await asyncio.sleep(_POLL)
