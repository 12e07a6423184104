"""The clients of this repository against the whole bundle, over connections that break."""

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from local.environment import ROOT
from local.gateway import find_deno
from tests.fixtures.stack import Stack

CLIENTS = Path(__file__).parent / "clients"


def reports(stack: Stack, scenario: str) -> list[Any]:
    config = str(ROOT / "clients" / "js" / "deno.json")
    command = [find_deno(), "run", "--quiet", "--allow-all", "--config", config]
    script = [str(CLIENTS / "resumable.ts"), stack.gateway, stack.token(), scenario]
    done = subprocess.run([*command, *script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_stream_that_breaks_anywhere_is_whole_to_its_reader(stack: Stack) -> None:
    *answers, requests = reports(stack, "cut anywhere")

    assert answers == [["onetwothree", "RUN_FINISHED"]] * 6
    assert requests > 2 * len(answers)


def test_a_call_is_approved_over_a_connection_that_breaks(stack: Stack) -> None:
    interrupts, answer = reports(stack, "approval")

    assert interrupts == [["tool_call", "May delete_note be called?"]]
    assert answer == 'it is {"deleted":false}'


def test_a_run_is_cancelled(stack: Stack) -> None:
    assert reports(stack, "cancel") == [{"type": "cancelled"}, "cancelled"]


def test_the_official_client_outlives_its_connection(stack: Stack) -> None:
    answer, thread = reports(stack, "official client")

    assert answer == "onetwothreefour"
    assert thread == ["say: one|two|three|four", "onetwothreefour"]


def test_the_python_example_prints_an_answer_whose_stream_broke(stack: Stack) -> None:
    with breaking(stack.project, after=700) as (broken, connections):
        gateway = stack.gateway.replace(stack.project, broken)
        script = [sys.executable, str(ROOT / "clients" / "python" / "example.py")]
        done = subprocess.run(
            [*script, gateway, stack.token(), "say: one|two|three|four"],
            capture_output=True,
            text=True,
            timeout=60,
        )

    assert (done.stdout, done.stderr) == ("onetwothreefour\n", "")
    assert len(connections) > 1


@contextmanager
def breaking(project: str, *, after: int) -> Iterator[tuple[str, list[int]]]:
    """A proxy whose connections break after so many bytes of answers; and how many bytes each carried."""
    port = int(project.rpartition(":")[2])
    connections: list[int] = []
    ready: Future[str] = Future()
    stop = asyncio.Event()
    loop = asyncio.new_event_loop()

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, limit: int) -> int:
        brought = 0
        with suppress(ConnectionError):
            while brought < limit and (data := await reader.read(limit - brought)):
                brought += len(data)
                writer.write(data)
                await writer.drain()
        writer.close()
        return brought

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", port)
        upstream = asyncio.ensure_future(pipe(reader, back, sys.maxsize))
        connections.append(await pipe(there, writer, after))
        back.close()
        await upstream

    async def serve() -> None:
        server = await asyncio.start_server(connect, "127.0.0.1", 0)
        ready.set_result(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        await stop.wait()
        server.close()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        yield ready.result(10), connections
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()
