"""The number of statements of a run, counted on the connection between the served function and Postgres."""

import asyncio
import struct
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import pytest

from shared.core.json import Json
from tests.doubles import ModelServer, Reply, chunk, says
from tests.fixtures.database import TestDatabase
from tests.fixtures.functions import Person, Served, run_input, serve

_TERMINATORS = b"\0"


class Counting:
    """A proxy before Postgres that counts the statements which are executed, by the function they call."""

    def __init__(self, port: int) -> None:
        self.executed: Counter[str] = Counter()
        self.port = 0
        self._upstream = port

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, here = await asyncio.open_connection("127.0.0.1", self._upstream)
        answers = asyncio.ensure_future(_copy(there, writer))
        try:
            await self._start(reader, here)
            await self._count(reader, here)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            here.close()
            await asyncio.gather(answers, return_exceptions=True)

    async def _start(self, reader: asyncio.StreamReader, here: asyncio.StreamWriter) -> None:
        code = 0
        while (
            code != 196608
        ):  # the startup message of protocol 3.0; requests for TLS come before it
            head = await reader.readexactly(8)
            size, code = struct.unpack("!ii", head)
            here.write(head + await reader.readexactly(size - 8))

    async def _count(self, reader: asyncio.StreamReader, here: asyncio.StreamWriter) -> None:
        prepared: dict[bytes, str] = {}
        bound = ""
        while True:
            head = await reader.readexactly(5)
            body = await reader.readexactly(struct.unpack("!i", head[1:])[0] - 4)
            match head[:1]:
                case b"P":
                    name, sql, *_ = body.split(_TERMINATORS)
                    prepared[name] = sql.decode()
                case b"B":
                    bound = prepared[body.split(_TERMINATORS)[1]]
                case b"E":
                    self.executed[_name(bound)] += 1
                case b"Q":
                    self.executed[_name(body.decode())] += 1
            here.write(head + body)


def _name(sql: str) -> str:
    return sql.partition("agent.")[2].partition("(")[0] or sql.strip("\0 ;")


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()


@asynccontextmanager
async def counted(
    database: TestDatabase, model: ModelServer, **more: Any
) -> AsyncIterator[tuple[Served, Counter[str]]]:
    """The served function, with its statements."""
    counting = Counting(urlsplit(database.url).port or 0)
    proxy = await asyncio.start_server(counting.serve, "127.0.0.1", 0)
    port = proxy.sockets[0].getsockname()[1]
    url = database.url.replace(f":{counting._upstream}/", f":{port}/")
    try:
        async with serve(replace(database, url=url), model, **more) as served:
            yield served, counting.executed
    finally:
        proxy.close()


async def test_a_text_reply_costs_two_statements(
    database: TestDatabase, model: ModelServer
) -> None:
    model.will(says("Hel", "lo"), says("again"))
    async with counted(database, model, tick_seconds=5) as (agent, executed):
        person = await agent.person()
        for nth in range(2):
            executed.clear()
            await person.run(run_input("hi", run=f"run-{nth}"))
            assert executed == {"start_run": 1, "append_events": 1}


async def test_the_number_of_statements_depends_on_processes_and_not_on_streams(
    database: TestDatabase, model: ModelServer
) -> None:
    seconds, tick = 1.0, 0.1
    over = asyncio.Event()

    steady = [piece for _ in range(150) for piece in (chunk({"content": "x"}), 0.02)]
    model.answer_all = lambda _: Reply([*steady, over, *says("!")])
    async with counted(database, model, tick_seconds=tick) as (agent, executed):
        person = await agent.person()
        counts = []
        async with asyncio.TaskGroup() as group:
            for streams in (1, 19):
                first = [asyncio.Event() for _ in range(streams)]
                for nth, seen in enumerate(first):
                    run = f"run-{streams}-{nth}"
                    body = run_input("hi", run=run, thread=run)
                    group.create_task(_watch(person, body, seen))
                for seen in first:
                    await seen.wait()
                executed.clear()
                await asyncio.sleep(seconds)
                counts.append(executed["append_events"])
                assert set(executed) == {"append_events"}
            over.set()

    assert all(1 <= count <= seconds / tick + 2 for count in counts), "one a tick, for all runs"


async def _watch(person: Person, body: Json, seen: asyncio.Event) -> None:
    async with person.stream("POST", "/runs", body) as frames:
        await frames.until("TEXT_MESSAGE_CONTENT")
        seen.set()
        await frames.rest()


@pytest.mark.parametrize("has_worked", [False, True])
async def test_an_idle_process_sends_no_statement(
    database: TestDatabase, model: ModelServer, has_worked: bool
) -> None:
    async with counted(database, model) as (agent, executed):
        if has_worked:
            model.will(says("done"))
            person = await agent.person()
            await person.run(run_input("hi"))
            async with person.stream("GET", "/runs/run-1/events") as frames:
                await frames.rest()
        executed.clear()
        await asyncio.sleep(1.3)  # longer than any period of a process that works

        assert not executed
