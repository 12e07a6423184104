"""One run: its holders, their crashes, and the log of each holder."""

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
from shared.runs.results import Leased
from tests.postgres.cursors import Client, Process, shown_by
from tests.postgres.holders import run_request

_SETTINGS = Settings(
    tick_seconds=0.001, lease_seconds=3600, takeover_grace_seconds=0, max_turn_tries=99
)
_names = count(1)


class Play:
    """A run of its own on a shared database. `holder_logs` and `log` are the reference; never read from Postgres."""

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
        self.holder_logs: dict[int, list[RunEvent]] = {}
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
        """The log of the holder in this process."""
        assert process.live
        return self.holder_logs[process.live.leased.attempt]

    def known_in(self, process: Process) -> list[RunEvent]:
        """The log that this process knows: its own holder's, or else the committed one."""
        is_holder = process.live and attempt_of(process) == self.attempt
        return self.of(process) if is_holder else self.log

    async def begin(self, process: Process, *, queued: bool) -> None:
        """Admit the run: held by this process, or waiting."""
        request = run_request(run=self.name, thread=f"thread of {self.name}")
        admitted = await process.runs.start(self._claims, request, lease=not queued)
        self._run_id = admitted.run_id
        if isinstance(admitted, Leased):
            self.attempt = 1
            self._hold(process, admitted, [RunEvent(1, 1, "run.started", None, {})])
        else:
            self.log = [RunEvent(0, 1, "run.queued", None, {})]
            self.holder_logs[0] = [*self.log]

    def _hold(self, process: Process, leased: Leased, news: Sequence[RunEvent]) -> None:
        self.log += news
        self.holder_logs[leased.attempt] = [*self.log]
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
        """Possible next output of a model; no word repeats."""
        items = shown_by(self.of(process)).items
        texts = {name: text for name, (text, is_done) in items.items() if not is_done}
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
        """The drafts that complete all open items."""
        items = shown_by(self.of(process)).items
        return [_completed(name, text) for name, (text, is_done) in items.items() if not is_done]

    def _record(self, process: Process, drafts: Sequence[Draft]) -> None:
        log = self.of(process)
        attempt = attempt_of(process)
        for type_, item_id, data in drafts:
            log.append(RunEvent(attempt, len(log) + 1, type_, item_id, data))

    async def send(self, process: Process, drafts: Sequence[Draft]) -> None:
        """Send drafts that need no commit."""
        assert process.live
        # The time between two steps of a play does not count.
        process.live._outbox._backlog_since = monotonic()
        await process.live.send(drafts)
        self._record(process, drafts)

    async def tick(self, process: Process) -> None:
        """Commit what was sent, or learn that the lease is lost."""
        live = process.live
        assert live
        await process.journal.flush([live])
        self._settle(process, live)

    async def commit(self, process: Process, drafts: Sequence[Draft], *, closes: bool) -> None:
        """Send drafts that need a commit."""
        live = process.live
        assert live
        work = asyncio.ensure_future(live.commit(drafts, closes_turn=closes))
        await asyncio.sleep(0)
        await process.journal.flush([live])
        with suppress(LeaseLost):
            await work
            self._record(process, drafts)
        self._settle(process, live)
        if closes and not live.is_dropped:
            self._closed = len(self.log)

    def _settle(self, process: Process, live: LiveRun) -> None:
        is_holder = attempt_of(process) == self.attempt
        if is_holder:
            self.log = [*self.of(process)]
        assert not (is_holder and live.is_dropped)
        if is_holder and self.is_over:
            process.forget()

    async def release(self, process: Process) -> None:
        """Release the run, as a stopping process does."""
        live = process.live
        assert live
        await process.journal.release([live])
        self._settle(process, live)
        process.forget()

    async def crash(self, at: int) -> None:
        """Replace a process. Its lease stays, and its clients are disconnected."""
        for client in self.clients:
            if client.process is self.processes[at]:
                await client.detach()
        self.processes[at].forget()
        self.processes[at] = self._process()

    async def take(self, process: Process) -> None:
        """Let the lease expire, and let this process claim the run."""
        await self._expire()
        leased = await process.runs.claim(self._run_id, ["assistant"])
        assert isinstance(leased, Leased)
        started = [RunEvent(1, 2, "run.started", None, {})]
        news = self._aborted(leased.attempt) if self.attempt else started
        self.attempt = leased.attempt
        self._hold(process, leased, news)

    def _aborted(self, attempt: int) -> list[RunEvent]:
        """The events with which a takeover aborts the open turn."""
        void = [event.item_id for event in self.log[self._closed :] if event.type == "item.started"]
        gone = {event.item_id for event in self.log if event.type == "item.aborted"}
        void = [name for name in void if name not in gone]
        return [
            RunEvent(attempt, len(self.log) + nth, "item.aborted", name, {})
            for nth, name in enumerate(void, 1)
        ]

    async def cancel(self) -> None:
        """Let the lease expire, and let the user cancel the run before a process claims it."""
        await self._expire()
        process = self.processes[0]
        await process.runs.cancel(self._claims, self.name, "request-1")
        self.attempt += self.attempt > 0
        for name, (text, is_done) in shown_by(self.log).items.items():
            if not is_done:
                closing = _completed(name, text) if text else Draft("item.aborted", name)
                self._write(closing)
        self._write(Draft("run.cancelled"))
        self.holder_logs[self.attempt] = [*self.log]

    def _write(self, draft: Draft) -> None:
        self.log.append(RunEvent(self.attempt, len(self.log) + 1, *draft))

    async def _expire(self) -> None:
        late = "update agent.lease set until = now() - interval '1 s' where run_id = $1"
        await self._owner.execute(late, self._run_id)

    async def prune(self, *, empties: bool) -> None:
        """Prune as after a long time: the run's deltas, or all events but its ending."""
        old = "update agent.run set ended_at = now() - interval '2 hours' where id = $1"
        await self._owner.execute(old, self._run_id)
        events_after = timedelta(hours=1 if empties else 1000)
        await self._owner.execute(
            "select agent.prune($1, $2, interval '1 year', 10)", timedelta(hours=1), events_after
        )
        self.is_pruned = True

    async def attach(
        self,
        client: Client,
        process: Process,
        cursor: Cursor | None,
        *,
        starts_with_snapshot: bool = False,
    ) -> None:
        """Start a leg of a client."""
        await client.attach(
            process, self._claims, self.name, cursor, starts_with_snapshot=starts_with_snapshot
        )


def _completed(name: str, text: str) -> Draft:
    item = {"role": "assistant", "content": text}
    return Draft("item.completed", name, {"kind": "message", "item": item})


def attempt_of(process: Process | None) -> int:
    """The attempt of the holder in this process."""
    assert process
    assert process.live
    return process.live.leased.attempt
