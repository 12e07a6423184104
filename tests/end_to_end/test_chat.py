"""The chat command: for scripts through pipes, for users on a (pseudo) terminal."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from uuid import uuid4

import pytest

from local.environment import ROOT
from local.stack import start_stack
from local.terminal.agent import Refused
from shared.core.errors import BudgetExceeded
from tests.fixtures.stack import Stack, plan_of, stack_folder

CTRL_D = "\x04"


def command(stack: Stack, *more: str, user: str = "ann") -> list[str]:
    where = ("--url", stack.gateway, "--token", stack.token(user=user))
    return [sys.executable, "-m", "local", "chat", *where, *more]


def script(stack: Stack, *more: str, typed: str = "") -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command(stack, *more), cwd=ROOT, input=typed, capture_output=True, text=True, timeout=60
    )


class Terminal:
    """A user's side of a pseudo terminal."""

    def __init__(self, file: int, process: "subprocess.Popen[bytes]") -> None:
        self.process = process
        self._file = file
        self._seen = ""

    def type(self, text: str) -> None:
        os.write(self._file, text.encode())

    def until(self, pattern: str) -> "re.Match[str]":
        """Read on until this is on the screen."""
        deadline = monotonic() + 30
        while not (found := re.search(pattern, self._seen)):
            ready, _, _ = select.select([self._file], [], [], deadline - monotonic())
            assert ready, f"{pattern!r} is not in {self._seen!r}"
            try:
                self._seen += os.read(self._file, 65536).decode(errors="replace")
            except OSError:
                pytest.fail(f"the program ended before {pattern!r}: {self._seen!r}")
        self._seen = self._seen[found.end() :]
        return found


@contextmanager
def terminal(stack: Stack, user: str, *more: str) -> Iterator[Terminal]:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command(stack, *more, user=user),
        cwd=ROOT,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        # Its own terminal, so that Ctrl-C reaches it as a key does.
        start_new_session=True,
        preexec_fn=lambda: os.close(ours),
    )
    os.close(theirs)
    try:
        yield Terminal(ours, process)
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def test_a_script_gets_only_the_answer(stack: Stack) -> None:
    answered = script(stack, "say: Hel|lo")
    piped = script(stack, typed="say: from a pipe\n")

    assert (answered.returncode, answered.stdout, answered.stderr) == (0, "Hello\n", "")
    assert (piped.returncode, piped.stdout) == (0, "from a pipe\n")


def test_events_come_one_a_line_and_a_thread_continues(stack: Stack) -> None:
    thread = str(uuid4())
    first = script(stack, "--json", "--thread", thread, "say: one")
    script(stack, "--thread", thread, "say: two")

    events = [json.loads(line) for line in first.stdout.splitlines()]
    assert [event["type"] for event in events][:1] == ["RUN_STARTED"]
    assert events[-1]["type"] == "RUN_FINISHED"
    assert events[0]["threadId"] == thread
    contents = [message["content"] for message in stack.model.requests[-1]["messages"]]
    assert contents[-3:] == ["say: one", "one", "say: two"]


def test_scripts_get_an_exit_code_for_each_kind_of_ending(stack: Stack) -> None:
    waits = script(stack, f'call: delete_note {{"id": "{uuid4()}"}}')
    refused = subprocess.run(
        [*command(stack)[:-1], "not-a-token", "say: hi"], cwd=ROOT, capture_output=True, text=True
    )
    nowhere = subprocess.run(
        [sys.executable, "-m", "local", "chat", "--url", stack.gateway, "hi"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )

    assert waits.returncode == 3
    assert waits.stderr.startswith("May delete_note be called?\nThe question stays open.")
    assert (refused.returncode, "(unauthorized)" in refused.stderr) == (1, True)
    assert (nowhere.returncode, "needs --token" in nowhere.stderr) == (1, True)


def test_a_person_approves_in_place_and_finds_threads_again(stack: Stack) -> None:
    user = f"person-{uuid4()}"
    with terminal(stack, user) as person:
        person.until("/threads lists")
        person.type('call: add_note {"text": "old"}\n')
        note = person.until(r'= \{"id":"([0-9a-f-]{36})"')[1]
        person.until("> ")
        person.type(f'call: delete_note {{"id": "{note}"}}\n')
        person.until(r"\[y/N")
        person.type("y\n")
        person.until("it is ")
        person.until("> ")
        person.type("/threads\n")
        person.until(r"  1  20\d\d-")
        person.type("/resume 1\n")
        person.until("Continuing: ")
        person.type("/resume 7\n")
        person.until("takes a number")
        person.type("/quit\n")
        assert person.process.wait(20) == 0


def test_ctrl_c_stops_the_answer_and_not_the_program(stack: Stack) -> None:
    with terminal(stack, f"person-{uuid4()}") as person:
        person.until("/threads lists")
        person.type("say: started|" + "|".join(["more"] * 200) + "\n")
        person.until("\nstarted|startedmore")
        person.process.send_signal(signal.SIGINT)
        # What was shown before is not shown again.
        assert "started" not in person.until(r"(?s)Stopping(.*?)> ")[1]
        person.type("say: still here\n")
        person.until("[\r\n]still here")


def test_a_question_is_repeated_after_a_typo_and_waits_when_left_open(stack: Stack) -> None:
    user = f"person-{uuid4()}"
    with terminal(stack, user) as person:
        person.until("/threads lists")
        person.type(f'call: delete_note {{"id": "{uuid4()}"}}\n')
        person.until(r"\[y/N")
        person.type("{\n")
        person.until("y or n")
        person.until(r"\[y/N")
        person.type(CTRL_D)
        thread = person.until("stays open.*--thread ([0-9a-f-]{36})")[1]
        person.until("> ")
        person.type("/resume\n")
        person.until("> call: delete_note")
        person.until(r"delete_note \{")
        person.until(r"\[y/N")
        person.type(CTRL_D)
        person.until("stays open")
        person.until("> ")
        person.type(CTRL_D)
        assert person.process.wait(20) == 0

    with terminal(stack, user, "--thread", thread) as person:
        person.until(r"\[y/N")
        person.type("y\n")
        person.until('it is {"deleted":false}')


def test_a_message_beside_an_open_question_shows_the_question_again(stack: Stack) -> None:
    with terminal(stack, f"person-{uuid4()}") as person:
        person.until("/threads lists")
        person.type(f'call: delete_note {{"id": "{uuid4()}"}}\n')
        person.until(r"\[y/N")
        person.type(CTRL_D)
        person.until("stays open")
        person.until("> ")
        person.type("say: something else\n")
        person.until("open question, so your message was not sent")
        person.until(r"delete_note \{")
        person.until(r"\[y/N")
        person.type("y\n")
        person.until('it is {"deleted":false}')
        person.type("say: something else\n")
        person.until("[\r\n]something else")


def test_a_question_of_another_agent_is_answered_at_that_agent(stack: Stack) -> None:
    user, thread = f"person-{uuid4()}", str(uuid4())
    call = f'call: delete_note {{"id": "{uuid4()}"}}'
    left = subprocess.run(
        command(stack, "--thread", thread, call, user=user),
        cwd=ROOT,
        capture_output=True,
        timeout=60,
    )
    assert left.returncode == 3, left.stderr

    with terminal(stack, user, "--agent", "trips", "--thread", thread) as person:
        person.until(r"\[y/N")
        person.type("y\n")
        person.until('it is {"deleted":false}')


def test_a_thread_is_listed_by_its_first_message(stack: Stack) -> None:
    with terminal(stack, f"person-{uuid4()}") as person:
        person.until("/threads lists")
        person.type("/thread\n")
        person.until("There is no /thread;")
        person.type("/threads\n")
        person.until("no threads yet")
        person.type("say: the first words\n")
        person.until("[\r\n]the first words")
        person.until("> ")
        person.type("/new\n")
        person.until("A new thread")
        person.type("/threads\n")
        person.until(r"  1  20\d\d-\d\d-\d\d \d\d:\d\d  say: the first words")
        person.type("/resume 1\n")
        person.until("> say: the first words")
        person.until("[\r\n]the first words")


def test_a_permanent_problem_is_shown_at_once_with_its_message(stack: Stack) -> None:
    with stack_folder() as folder:
        plan = plan_of(folder, stack.model, {"DAILY_TOKENS_PER_USER": "1"})
        with start_stack(plan) as running:
            poor = Stack(running, plan.keys, stack.model)
            assert script(poor, 'call: calculator {"expression": "1"}').returncode == 0
            refused = script(poor, "say: more")

    assert refused.returncode == 1
    assert refused.stderr == f"{BudgetExceeded().detail} (budget_exceeded)\n"


@pytest.mark.parametrize(
    ("status", "retry_after", "passes"),
    [
        (503, None, True),
        (502, None, True),
        (429, "2", True),
        (429, "11", False),
        (429, None, False),
        (503, "3600", False),
        (503, "Wed, 21 Oct 2026 07:28:00 GMT", True),
        (409, None, False),
        (500, None, False),
    ],
)
def test_only_temporary_problems_are_retried(
    status: int, retry_after: str | None, passes: bool
) -> None:
    assert Refused(status, b"<html>", retry_after).is_transient is passes


@pytest.mark.parametrize("name", ["assistant"])
def test_an_answer_survives_its_process(stack: Stack, name: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    texts = [f"{nth}," for nth in range(30)]
    with out.open("wb") as output:
        process = subprocess.Popen(
            command(stack, "say: " + "|".join(texts)),
            cwd=ROOT,
            stdout=output,
            # A slow restart gets a line there.
            stderr=subprocess.DEVNULL,
        )
        deadline = monotonic() + 30
        while b"3," not in out.read_bytes():
            assert monotonic() < deadline
        (child,) = [child for child in stack.running.children.all if child.name == name]
        child.kill_and_restart()
        assert process.wait(60) == 0
    assert "".join(texts) in out.read_text().replace("\n", "")
