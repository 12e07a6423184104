"""After any sequence of commits, crashes and takeovers, every reader shows the state at its place in the log.

Hypothesis drives the real modules of three processes in one loop, on a real Postgres, against the reference in
`cursors.py` and `plays.py`.
"""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import asyncpg
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from shared.core.events import Cursor, Draft, Snapshot
from shared.core.json import Json
from shared.database.pool import Database
from tests.fixtures.database import TestDatabase
from tests.postgres.cursors import Client, Process, shown_by
from tests.postgres.holders import admit, connected
from tests.postgres.plays import Play, attempt_of

PLAYS = settings(
    max_examples=300,
    stateful_step_count=40,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[*HealthCheck],
)
MOST_CLIENTS = 6
nth = st.integers(0, 30)
rarely = st.integers(0, 4).map(lambda drawn: drawn == 4)
moves = st.lists(st.sampled_from(["start", "say", "say", "finish"]), min_size=1, max_size=5)
is_live = precondition(lambda machine: not machine.play.is_over)
is_held = precondition(lambda machine: machine.holders())
is_over = precondition(lambda machine: machine.play.is_over)
has_clients = precondition(lambda machine: machine.play.clients)


class Machine(RuleBasedStateMachine):
    """A play's next step, chosen by hypothesis."""

    def __init__(self, loop: asyncio.Runner, begin: Callable[[], Play]) -> None:
        super().__init__()
        self._loop = loop
        self.play = begin()

    def wait(self, work: Coroutine[Any, Any, object]) -> None:
        self._loop.run(work)

    def process(self, at: int) -> Process:
        return self.play.processes[at % len(self.play.processes)]

    def holders(self) -> list[Process]:
        """The processes that hold the run, or believe so."""
        return [one for one in self.play.processes if one.live and not one.live.is_dropped]

    def holder(self, at: int) -> Process:
        return self.holders()[at % len(self.holders())]

    def writer(self, at: int) -> Process:
        """The process that holds the run; sometimes one that does not know that it lost it."""
        holders = [one for one in self.holders() if attempt_of(one) == self.play.attempt]
        return holders[0] if holders and at % 4 else self.holder(at)

    @initialize(at=nth, queued=st.booleans())
    def begin(self, at: int, queued: bool) -> None:
        self.wait(self.play.begin(self.process(at), queued=queued))

    @is_held
    @rule(at=nth, moves=moves)
    def send(self, at: int, moves: list[str]) -> None:
        holder = self.holder(at)
        self.wait(self.play.send(holder, self.play.drafts(holder, moves)))

    @is_held
    @rule(at=nth)
    def tick(self, at: int) -> None:
        self.wait(self.play.tick(self.writer(at)))

    @is_held
    @rule(at=nth, ends=rarely)
    def close_turn(self, at: int, ends: bool) -> None:
        holder = self.writer(at)
        closing = Draft("run.completed") if ends else Draft("turn.finished", None, {"usage": {}})
        drafts = [*self.play.completing(holder), closing]
        self.wait(self.play.commit(holder, drafts, closes=True))

    @is_held
    @rule(at=nth)
    def take_back(self, at: int) -> None:
        """A turn is repeated: its items are aborted."""
        holder = self.writer(at)
        drafts = [Draft("item.aborted", d.item_id, {}) for d in self.play.completing(holder)]
        self.wait(self.play.commit(holder, drafts, closes=False))

    @is_held
    @rule(at=nth, really=rarely)
    def release(self, at: int, really: bool) -> None:
        if really:
            self.wait(self.play.release(self.writer(at)))

    @rule(at=nth, really=rarely)
    def crash(self, at: int, really: bool) -> None:
        if really:
            self.wait(self.play.crash(at % len(self.play.processes)))

    @is_live
    @rule(at=nth, really=st.booleans())
    def take(self, at: int, really: bool) -> None:
        process = self.process(at)
        if really and process not in self.holders():
            process.forget()
            self.wait(self.play.take(process))

    @is_live
    @rule(really=rarely)
    def cancel(self, really: bool) -> None:
        if really:
            self.wait(self.play.cancel())

    @is_over
    @rule(empties=st.booleans())
    def prune(self, empties: bool) -> None:
        self.wait(self.play.prune(empties=empties))

    @rule(at=nth, starts_with_snapshot=st.booleans())
    def arrive(self, at: int, starts_with_snapshot: bool) -> None:
        """A client without a cursor."""
        client = Client(self.play.holder_logs)
        self._admit(client)
        self.wait(
            self.play.attach(
                client, self.process(at), None, starts_with_snapshot=starts_with_snapshot
            )
        )
        if starts_with_snapshot or self.play.is_pruned:
            assert isinstance(self._loop.run(client.next()), Snapshot)

    @rule(at=nth, attempts=st.sampled_from([-1, 0, 0, 0, 1]), events=st.integers(-8, 8))
    def arrive_with_any_cursor(self, at: int, attempts: int, events: int) -> None:
        """A client with an arbitrary cursor: of an older attempt, of the next one, or beyond the log."""
        play = self.play
        cursor = Cursor(max(play.attempt + attempts, 0), max(len(play.log) + events, 0))
        process = self.process(at)
        known = play.known_in(process) if cursor.attempt == play.attempt else []
        client = Client(play.holder_logs)
        client.pretend(cursor, known)
        self._admit(client)
        self.wait(play.attach(client, process, cursor))
        self.wait(client.next())

    def _admit(self, client: Client) -> None:
        clients = self.play.clients
        clients.append(client)
        if len(clients) > MOST_CLIENTS:
            self.wait(clients.pop(0).detach())

    @has_clients
    @rule(which=nth, at=nth, moment=st.integers(0, 6), in_frames=st.booleans())
    def come_back(self, which: int, at: int, moment: int, in_frames: bool) -> None:
        """A client loses its connection and the last events, and resumes."""
        client = self.client(which)
        self.wait(client.detach())
        cursor = client.go_back(-1 - moment, in_frames=in_frames)
        self.wait(self.play.attach(client, self.process(at), cursor))

    def client(self, which: int) -> Client:
        return self.play.clients[which % len(self.play.clients)]

    @rule(at=nth)
    def poll(self, at: int) -> None:
        self.wait(self.process(at).poll())

    @has_clients
    @rule(which=nth)
    def read_a_part(self, which: int) -> None:
        client = self.client(which)
        if client.process and not client.has_all:
            self.wait(client.next())

    @has_clients
    @rule(which=nth)
    def catch_up(self, which: int) -> None:
        if self.client(which).process:
            self.wait(self._caught_up(self.client(which)))

    async def _caught_up(self, client: Client) -> None:
        """After a few ticks a client has all events."""
        process = client.process
        assert process
        await client.read_on()
        if process in self.holders() and not self._has_all(client):
            # It reads from a holder that lost the run, and learns that at the next tick.
            await self.play.tick(process)
            await client.read_on()
        assert self._has_all(client), "there is more than it has"

    def _has_all(self, client: Client) -> bool:
        play, place, process = self.play, client.place, client.process
        if client.has_all:
            return play.is_over and client.shown == shown_by(play.log)
        if process in self.holders() and attempt_of(process) == place.attempt:
            return place.seq in (len(play.log), len(play.of(process)))
        return place.seq == len(play.log) and not play.is_over

    def teardown(self) -> None:
        if self.play.log or self.play.holder_logs:
            self.wait(self._finish())

    async def _finish(self) -> None:
        """At the end: a client that keeps polling has all events, and after the ending all clients show the same."""
        await self._everybody()
        if not self.play.is_over:
            await self.play.cancel()
        for process in self.holders():
            await self.play.tick(process)
        await self._everybody()
        for client in self.play.clients:
            assert client.has_all
            await client.detach()

    async def _everybody(self) -> None:
        for client in self.play.clients:
            if client.process is None:
                cursor = client.go_back(-1, in_frames=False)
                await self.play.attach(client, self.play.processes[0], cursor)
            await self._caught_up(client)


async def _opened(database: TestDatabase) -> tuple[Json, "asyncpg.Connection[asyncpg.Record]"]:
    return await admit(database), await asyncpg.connect(database.owner_url)


def test_every_reader_shows_the_state_at_its_place_in_the_log(database: TestDatabase) -> None:
    with asyncio.Runner() as loop:
        claims, owner = loop.run(_opened(database))
        context = connected(database.url)
        db: Database = loop.run(context.__aenter__())
        try:
            # It accepts a factory, although its types allow only classes.
            machine: Any = partial(Machine, loop, partial(Play, db, owner, claims))
            run_state_machine_as_test(machine, settings=PLAYS)
        finally:
            loop.run(context.__aexit__(None, None, None))
            loop.run(owner.close())
