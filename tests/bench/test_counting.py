"""The bench counts statements, tokens and processes correctly."""

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from time import monotonic

import asyncpg
import pytest

from bench import NotMeasured, counting
from bench.contenders import PASSTHROUGH
from bench.load import Connection, at_once, in_turn, open_streams
from bench.machine import Process, process
from bench.rounds import attempts
from bench.rows import crowds
from bench.rows.streaming import expect_whole
from local.children import Children
from local.database import postgres
from local.database.postgres import SUPERUSER, Server
from local.environment import ROOT
from local.probe import free_port

_HERE = min(os.sched_getaffinity(0))


@pytest.fixture
def model(tmp_path: Path) -> Iterator[int]:
    """The bench's model; its port."""
    port = free_port()
    command = [sys.executable, "-m", "bench.upstream", str(port)]
    with process(command, {}, tmp_path / "model.log", core=_HERE, folder=ROOT) as started:
        started.wait_ready(port, "/")
        yield port


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    tmp_path.chmod(0o711)
    options = {"shared_preload_libraries": "pg_stat_statements"}
    with Children(tmp_path / "logs") as children:
        server = postgres.start(children, tmp_path / "postgres", is_safe=False, options=options)
        asyncio.run(counting.prepare(server))
        yield server


def request_of(wanted: str) -> bytes:
    return PASSTHROUGH.request(None, wanted)  # type: ignore[arg-type]  # It needs no site.


def test_statements_and_commits_are_counted_exactly_and_at_once(server: Server) -> None:
    async def work() -> tuple[tuple[int, int], tuple[int, int]]:
        connection = await asyncpg.connect(server.url(SUPERUSER))
        try:
            await connection.execute("create table note (id int)")
            before = await counting.counts(server, "postgres")
            for n in range(7):
                await connection.execute("insert into note values ($1)", n)
            for _ in range(3):
                await connection.fetchval("select count(*) from note")
            async with connection.transaction():
                await connection.execute("insert into note values (8)")
                await connection.execute("insert into note values (9)")
            return before, await counting.counts(server, "postgres")
        finally:
            await connection.close()

    with counting.without_vacuum(server):
        before, after = asyncio.run(work())

    statements, commits = after[0] - before[0], after[1] - before[1]
    assert statements == 7 + 3 + 4
    assert commits == 7 + 1


def test_tokens_and_their_delays_are_counted(model: int) -> None:
    answers = asyncio.run(at_once(model, [request_of("300x0"), request_of("40x1")], stamps=True))

    assert [answer.tokens for answer in answers] == [300, 40]
    assert [len(answer.stamps_us) for answer in answers] == [300, 40]
    assert all(0 <= delay < 60_000 for answer in answers for delay in answer.delays_ms)


@pytest.mark.parametrize("size", [1, 2, 3, 17, 18, 19, 50])
def test_tokens_are_counted_whatever_the_split_of_their_bytes(size: int) -> None:
    tokens = b"".join(b'data: {"zap":"zq%016d "}\n\n' % n for n in range(1, 8))
    response = b"HTTP/1.1 200 OK\r\n\r\n" + tokens + b"\r\n0\r\n\r\n"

    async def work() -> tuple[int, list[int]]:
        connection = Connection(stamps=True)
        connection.connection_made(asyncio.Transport())
        with suppress(NotImplementedError):
            connection.send(b"")  # type: ignore[unused-awaitable]  # There is no peer to write to.
        for first in range(0, len(response), size):
            connection.data_received(response[first : first + size])
        assert connection.done
        answer = await connection.done
        return answer.tokens, [written for written, _ in answer.stamps_us]

    assert asyncio.run(work()) == (7, [1, 2, 3, 4, 5, 6, 7])


def test_streams_count_as_open_once_each_has_started(model: int) -> None:
    async def work() -> list[int]:
        streams = await open_streams(model, [request_of("2x600000")] * 9, 4)
        there = [stream.answer.tokens for stream in streams if not stream.is_closed]
        for stream in streams:
            stream.close()
        return there

    assert asyncio.run(work()) == [1] * 9


def test_lost_text_fails_the_measurement(model: int) -> None:
    answers = asyncio.run(in_turn(model, lambda _: request_of("4x0"), 3, 1))

    expect_whole(answers, 4)
    with pytest.raises(NotMeasured, match="3 of 3 responses are not complete: status 200, 4 of 5"):
        expect_whole(answers, 5)


def test_the_error_of_a_process_that_ended_has_the_reason_and_the_log(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise SystemExit('no licence')"]

    def measure() -> float:
        with process(command, {}, tmp_path / "peer.log", core=_HERE) as started:
            return started.wait_ready(free_port(), "/health")

    results = attempts({"peer": measure}, 3)

    assert results.figures == {}
    assert "exit code 1" in results.missing["peer"]
    assert "no licence" in results.missing["peer"]
    assert str(tmp_path / "peer.log") in results.missing["peer"]


def test_a_process_is_charged_for_its_children(tmp_path: Path) -> None:
    burn = "sum(range(10**7))"
    script = (
        f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', '{burn}; input()'],"
        " stdin=subprocess.PIPE); time.sleep(60)"
    )

    def spent(started: Process) -> float:
        deadline = monotonic() + 20
        while started.cpu_ms() < 100 and monotonic() < deadline:
            assert started.popen.poll() is None
        return started.cpu_ms()

    with process([sys.executable, "-c", script], {}, tmp_path / "parent.log", core=_HERE) as parent:
        assert spent(parent) >= 100
        assert parent.pss_mb() > 5


@pytest.mark.parametrize(
    ("moments", "steady"),
    [
        ([9.5, 10.5, 11.5, 12.5, 13.5, 14.5, 15.5], True),
        ([9.5, 10.5, 12.6, 13.6, 14.5], False),
        ([12.5, 13.5, 14.5], False),
        ([10.5, 11.5, 12.5], False),
        ([], False),
    ],
)
def test_a_stream_that_lost_a_token_is_broken(moments: list[float], steady: bool) -> None:
    assert crowds.is_steady(moments, 10.0, 15.0) is steady
