"""One run and what happens to it: its holders, their crashes, and the log as each of them tells it."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from itertools import count
from time import monotonic
from uuid import uuid4

import asyncpg

from shared.core.events import Cursor, Draft, EventType, RunEvent
from shared.core.json import Json
from shared.core.settings import Settings
from shared.database.pool import Database
from shared.runs.live import LeaseLost, LiveRun
from shared.runs.store import Leased
from tests.postgres.cursors import Client, Process, shown_by
from tests.postgres.holders import asks

_SETTINGS = Settings(
    tick_seconds=0.001, lease_seconds=3600, takeover_grace_seconds=0, model_attempts=99
)
_names = count(1)


class Play:
    """A run of its own on a shared database. `told` and `log` are the reference; nothing is read back into them."""

    def __init__(
        self, database: Database, owner: "asyncpg.Connection[asyncpg.Record]", claims: Json
    ) -> None:
        self._database = database
        self._owner = owner
        self._claims = claims
        self._words = count(1)
        self.name = f"run-{next(_names)}"
        self.processes = [self._process() for _ in range(3)]
        self.clients: list[Client] = []
        self.told: dict[int, list[RunEvent]] = {}
        self.log: list[RunEvent] = []
        self.attempt = self._closed = 0
        self.is_pruned = False
        self._run_id = ""

    def _process(self) -> Process:
        return Process(self._database, _SETTINGS)

    @property
    def is_over(self) -> bool:
        return bool(self.log) and self.log[-1].ends_run

    def of(self, process: Process) -> list[RunEvent]:
        """The log as the holder in this process tells it."""
        assert process.live
        return self.told[process.live.leased.attempt]

    def known_in(self, process: Process) -> list[RunEvent]:
        """The log as this process may know it: committed, but for what its own holder says."""
        is_holder = process.live and attempt_of(process) == self.attempt
        return self.of(process) if is_holder else self.log

    async def begin(self, process: Process, *, queued: bool) -> None:
        """Admit the run: held by this process, or waiting."""
        request = asks(run=self.name, thread=f"thread of {self.name}")
        admitted = await process.runs.start(self._claims, request, lease=not queued)
        self._run_id = admitted.run_id
        if isinstance(admitted, Leased):
            self.attempt = 1
            self._hold(process, admitted, [RunEvent(1, 1, "run.started", None, {})])
        else:
            self.log = [RunEvent(0, 1, "run.queued", None, {})]
            self.told[0] = [*self.log]

    def _hold(self, process: Process, leased: Leased, news: Sequence[RunEvent]) -> None:
        self.log += news
        self.told[leased.attempt] = [*self.log]
        assert leased.last_seq == len(self.log)
        process.live = process.journal.open(leased)

    def _next(
        self,
        type_: EventType,
        item_id: str | None = None,
        *,
        base: Sequence[RunEvent] = (),
        **data: str,
    ) -> RunEvent:
        return RunEvent(self.attempt, len(self.log) + len(base) + 1, type_, item_id, data)

    def drafts(self, process: Process, moves: Sequence[str]) -> list[Draft]:
        """What a model might write next; no word comes twice."""
        said = shown_by(self.of(process)).items
        texts = {name: text for name, (text, is_done) in said.items() if not is_done}
        drafts = []
        for move in moves:
            if move == "start" or not texts:
                drafts.append(Draft("item.started", str(uuid4()), {"kind": "message"}))
                texts[str(drafts[-1].item_id)] = ""
            elif move == "say":
                name = list(texts)[-1]
                word = f"{next(self._words)} "
                texts[name] += word
                drafts.append(Draft("item.delta", name, {"channel": "text", "delta": word}))
            else:
                drafts.append(_completed(*texts.popitem()))
        return drafts

    def completing(self, process: Process) -> list[Draft]:
        """What completes all that is open."""
        said = shown_by(self.of(process)).items
        return [_completed(name, text) for name, (text, is_done) in said.items() if not is_done]

    def _tell(self, process: Process, drafts: Sequence[Draft]) -> None:
        told = self.of(process)
        attempt = attempt_of(process)
        for type_, item_id, data in drafts:
            told.append(RunEvent(attempt, len(told) + 1, type_, item_id, data))

    async def send(self, process: Process, drafts: Sequence[Draft]) -> None:
        """Say something without consequence."""
        assert process.live
        # How long it takes between two steps of a play means nothing.
        process.live._outbox._behind_since = monotonic()
        await process.live.send(drafts)
        self._tell(process, drafts)

    async def tick(self, process: Process) -> None:
        """Commit what was sent, or learn that the lease is lost."""
        live = process.live
        assert live
        await process.journal.flush([live])
        self._settle(process, live)

    async def commit(self, process: Process, drafts: Sequence[Draft], *, closes: bool) -> None:
        """Say something with consequences."""
        live = process.live
        assert live
        work = asyncio.ensure_future(live.commit(drafts, closes_turn=closes))
        await asyncio.sleep(0)
        await process.journal.flush([live])
        with suppress(LeaseLost):
            await work
            self._tell(process, drafts)
        self._settle(process, live)
        if closes and not live.is_lost:
            self._closed = len(self.log)

    def _settle(self, process: Process, live: LiveRun) -> None:
        is_holder = attempt_of(process) == self.attempt
        if is_holder:
            self.log = [*self.of(process)]
        assert not (is_holder and live.is_lost)
        if is_holder and self.is_over:
            process.forget()

    async def release(self, process: Process) -> None:
        """Give the run back, as a process does that stops."""
        live = process.live
        assert live
        await process.journal.release([live])
        self._settle(process, live)
        process.forget()

    async def crash(self, at: int) -> None:
        """A process is gone, and another comes in its place. Its lease stays, and its clients lose it."""
        for client in self.clients:
            if client.process is self.processes[at]:
                await client.detach()
        self.processes[at].forget()
        self.processes[at] = self._process()

    async def take(self, process: Process) -> None:
        """The lease runs out, wherever the run is held, and this process takes it."""
        await self._expire()
        leased = await process.runs.claim(self._run_id)
        assert isinstance(leased, Leased)
        started = [RunEvent(1, 2, "run.started", None, {})]
        news = self._taken_back(leased.attempt) if self.attempt else started
        self.attempt = leased.attempt
        self._hold(process, leased, news)

    def _taken_back(self, attempt: int) -> list[RunEvent]:
        """What a takeover says of the turn that was not closed."""
        void = [event.item_id for event in self.log[self._closed :] if event.type == "item.started"]
        gone = {event.item_id for event in self.log if event.type == "item.aborted"}
        void = [name for name in void if name not in gone]
        return [
            RunEvent(attempt, len(self.log) + nth, "item.aborted", name, {})
            for nth, name in enumerate(void, 1)
        ]

    async def cancel(self) -> None:
        """The lease runs out, and the user ends the run before anybody takes it."""
        await self._expire()
        process = self.processes[0]
        await process.runs.cancel(self._claims, self.name, "request-1")
        self.attempt += self.attempt > 0
        for name, (text, is_done) in shown_by(self.log).items.items():
            if not is_done:
                closing = _completed(name, text) if text else Draft("item.aborted", name)
                self._write(closing)
        self._write(Draft("run.cancelled"))
        self.told[self.attempt] = [*self.log]

    def _write(self, draft: Draft) -> None:
        self.log.append(RunEvent(self.attempt, len(self.log) + 1, *draft))

    async def _expire(self) -> None:
        late = "update agent.lease set until = now() - interval '1 s' where run_id = $1"
        await self._owner.execute(late, self._run_id)

    async def prune(self, *, empties: bool) -> None:
        """Time goes by, until the run's deltas are gone, or all but its ending."""
        old = "update agent.run set ended_at = now() - interval '2 hours' where id = $1"
        await self._owner.execute(old, self._run_id)
        events_after = timedelta(hours=1 if empties else 1000)
        await self._owner.execute(
            "select agent.prune($1, $2, interval '1 year', 10)", timedelta(hours=1), events_after
        )
        self.is_pruned = True

    async def attach(
        self, client: Client, process: Process, cursor: Cursor | None, *, afresh: bool = False
    ) -> None:
        """A client begins a leg."""
        await client.attach(process, self._claims, self.name, cursor, afresh=afresh)


def _completed(name: str, text: str) -> Draft:
    item = {"role": "assistant", "content": text}
    return Draft("item.completed", name, {"kind": "message", "item": item})


def attempt_of(process: Process | None) -> int:
    """The attempt of the holder in this process."""
    assert process
    assert process.live
    return process.live.leased.attempt
