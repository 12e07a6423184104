"""`python -m local` as a user runs it: real processes, real signals."""

import asyncio
import os
import re
import signal
import socket
import subprocess
from pathlib import Path
from time import monotonic, sleep

import asyncpg
import httpx
import pytest

from local.children import Children
from local.probe import answer
from local.running import running_stack
from tests.fixtures.place import SECONDS, Place
from tests.fixtures.stack import outside


def family(parent: int) -> set[int]:
    listed = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True)
    pairs = [tuple(map(int, line.split())) for line in listed.stdout.splitlines()]
    return {pid for pid, ppid in pairs if ppid == parent}


def process_of(program: str, pids: set[int]) -> int:
    listed = subprocess.run(["ps", "-eo", "pid=,comm="], capture_output=True, text=True, check=True)
    names = dict(line.split(maxsplit=1) for line in listed.stdout.splitlines())
    (found,) = (pid for pid in pids if names.get(str(pid)) == program)
    return found


def function_process(name: str, pids: set[int]) -> int:
    listed = subprocess.run(["ps", "-eo", "pid=,args="], capture_output=True, text=True, check=True)
    commands = dict(line.split(maxsplit=1) for line in listed.stdout.splitlines())
    (found,) = (pid for pid in pids if commands.get(str(pid), "").endswith(f"functions {name}"))
    return found


def living(pids: set[int]) -> set[int]:
    listed = subprocess.run(["ps", "-eo", "pid=,stat="], capture_output=True, text=True, check=True)
    states = dict(line.split() for line in listed.stdout.splitlines())
    return {pid for pid in pids if states.get(str(pid), "Z")[0] != "Z"}


def assert_gone(pids: set[int]) -> None:
    deadline = monotonic() + 15
    while living(pids):
        assert monotonic() < deadline, f"{living(pids)} live on"
        sleep(0.05)


def test_a_started_stack_answers_and_a_signal_ends_all_of_it(place: Place) -> None:
    with place.dev() as process:
        children = family(process.pid)
        assert len(children) >= 4

        second = place.run("dev")
        assert second.returncode == 1
        assert f"already runs in this checkout, as process {process.pid}" in second.stderr

        token = place.run("token", "--user", "ann", "--role", "admin")
        assert re.fullmatch(r"[\w-]+\.[\w-]+\.[\w-]+\n", token.stdout)
        assert token.stderr == ""
        assert place.run("migrate").stdout == "Nothing to apply.\n"
        assert answer(place.gateway_port, "/functions/v1/auth-gateway/assistant/runs/none") == 401

        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == 0
        assert living(children) == set()


def test_ctrl_c_does_not_wait_for_a_run_which_continues_with_the_next_start(place: Place) -> None:
    with outside() as (model, _):
        place.environ["OPENAI_BASE_URL"] = model.url
        with place.dev() as process:
            post_run(place, f"say: first|{'|'.join('more' for _ in range(100))}")
            # A process holds the run before it sends its first request.
            while not model.requests:
                sleep(0.05)
            process.send_signal(signal.SIGINT)
            assert process.wait(SECONDS) == 0
        with place.dev() as process:
            deadline = monotonic() + SECONDS
            while statuses(place) != {"completed": 1}:
                assert monotonic() < deadline, statuses(place)
                sleep(0.1)
            assert model.requests.count(model.requests[0]) == 2, "it was interrupted, and resumed"
            process.send_signal(signal.SIGINT)
            process.wait(SECONDS)


def post_run(place: Place, message: str) -> None:
    """Start a run in the background, and wait until a process holds it."""
    token = place.run("token").stdout.strip()
    body = {
        "threadId": "t",
        "runId": "r",
        "messages": [{"id": "m", "role": "user", "content": message}],
        "forwardedProps": {"background": True},
    }
    url = f"http://127.0.0.1:{place.gateway_port}/functions/v1/auth-gateway/assistant/runs"
    answer = httpx.post(url, json=body, headers={"authorization": f"Bearer {token}"}, timeout=20)
    assert answer.status_code == 202, answer.text
    while not statuses(place).get("in_progress"):
        sleep(0.05)


def statuses(place: Place) -> dict[str, int]:
    """How many runs there are of each status."""

    async def count() -> dict[str, int]:
        connection = await asyncpg.connect(running_stack(place.folder).owner_url)
        try:
            rows = await connection.fetch("select status, count(*) from agent.run group by 1")
        finally:
            await connection.close()
        return {row["status"]: row["count"] for row in rows}

    return asyncio.run(count())


def test_a_stack_that_is_killed_leaves_no_process(place: Place) -> None:
    with place.dev() as process:
        children = family(process.pid)
        process.kill()
    assert_gone(children)
    # It may be in a checkout, and has private keys.
    assert (place.folder / ".gitignore").read_text() == "*\n"


def test_a_part_that_ends_ends_the_stack_with_its_last_words(place: Place) -> None:
    with place.dev() as process:
        children = family(process.pid)
        os.kill(process_of("deno", children), signal.SIGKILL)
        assert process.stdout
        assert re.search(
            r"gateway ended with exit code -9; \S+\.log ends with:", process.stdout.read()
        )
        assert process.wait(SECONDS) == 1
        assert living(children) == set()


def test_a_killed_function_starts_again_and_the_stack_stays(place: Place) -> None:
    with place.dev() as process:
        assert process.stdout
        os.kill(function_process("runner", family(process.pid)), signal.SIGKILL)
        lines = iter(process.stdout.readline, "")
        assert "  killed     runner: restarting it\n" in lines
        assert any(line.startswith("  ready      runner") for line in lines)
        assert process.poll() is None
        children = family(process.pid)
    assert_gone(children)


def test_a_port_in_use_is_one_sentence(place: Place) -> None:
    with socket.create_server(("127.0.0.1", place.gateway_port)):
        refused = place.run("dev")
    assert refused.returncode == 1
    assert refused.stdout == ""
    assert re.fullmatch(
        rf"Port {place.gateway_port} is in use: .*GATEWAY_PORT=\d+\.\n", refused.stderr
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LOG_LEVEL", "loud"),
        ("TICK_SECONDS", "soon"),
        ("POSTGRES_PORT", "x"),
        ("PG_BIN", "/nowhere"),
    ],
)
def test_a_bad_setting_is_one_sentence(place: Place, name: str, value: str) -> None:
    refused = place.run("dev", **{name: value})
    assert refused.returncode == 1
    assert refused.stdout == ""
    assert re.fullmatch(rf"{name}.*\n", refused.stderr)


def test_a_token_without_a_database_is_an_error_of_one_sentence(place: Place) -> None:
    token = place.run("token")
    assert (token.returncode, token.stdout) == (1, "")
    assert re.fullmatch(r"`make dev` is not running.*\n", token.stderr)


@pytest.mark.parametrize(
    ("stand_in", "said"),
    [("", "You wrote: "), ("smollm2", "a toy that cannot call tools")],
)
def test_the_demo_streams_a_reply_without_a_key(place: Place, stand_in: str, said: str) -> None:
    shown = place.run("demo", OPENAI_API_KEY="", OPENAI_BASE_URL="", LOCAL_MODEL=stand_in)
    assert shown.returncode == 0, shown.stderr
    assert said in shown.stdout
    last = shown.stdout.splitlines()[-1]
    assert re.fullmatch(r"RUN_FINISHED in \d+ ms, \d+ text events, first token \d+ ms", last)


def test_a_killed_part_is_restarted_and_ends_with_the_rest(tmp_path: Path) -> None:
    with Children(tmp_path) as children:
        part = children.start("part", ["sh", "-c", "echo started; sleep 60"], env={})
        first = part.pid
        while "started" not in part.last_lines():
            sleep(0.01)
        part.kill_and_restart()
        part.check()
        second = part.pid
        assert living({first, second}) == {second}
        assert part.starts == 2
        while part.last_lines().count("started") < 2:
            sleep(0.01)
    assert living({second}) == set()
