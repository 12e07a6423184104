"""The terminal's client while its server is gone, refuses, or is no gateway: what it shows, and how it ends."""

import json
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from threading import Thread

import pytest

from local import CannotStart
from local.gateway import PATH
from local.terminal.agent import Agent, Event, Lost
from local.terminal.chat import FAILED, WAITS, Chat
from local.terminal.screen import Screen

BODY: Event = {"threadId": "t", "runId": "r", "messages": []}
STARTED: Event = {"type": "RUN_STARTED", "runId": "r"}
#: The gateway's problem for a function that does not run.
UNAVAILABLE: Event = {"code": "unavailable", "detail": "The function cannot be reached."}


def response(status: int, body: str) -> bytes:
    return f"HTTP/1.1 {status} X\r\nConnection: close\r\n\r\n{body}".encode()


def frame(event: Event) -> str:
    return f"id: 1.1\ndata: {json.dumps(event)}\n\n"


def read(connection: socket.socket) -> str:
    """The first line of a request, which is read to its end: else the client gets a reset."""
    with connection.makefile("rb") as file:
        first, *headers = iter(lambda: file.readline().decode().strip(), "")
        lengths = [each.split(": ")[1] for each in headers if each.startswith("Content-Length")]
        file.read(int(*lengths))
    return first


@contextmanager
def served(*responses: bytes) -> Iterator[tuple[str, list[str]]]:
    """A server on loopback that gives each request the next response, and then is gone: its origin, and the requests'
    first lines."""
    requests: list[str] = []

    def serve(server: socket.socket) -> None:
        with closing(server):
            for each in responses:
                connection, _ = server.accept()
                with connection:
                    requests.append(read(connection))
                    connection.sendall(each)

    server = socket.create_server(("127.0.0.1", 0))
    # A request that never comes fails the test.
    server.settimeout(20)
    thread = Thread(target=serve, args=(server,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.getsockname()[1]}", requests
    thread.join()


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits between connections, which take no time."""
    waits: list[float] = []
    monkeypatch.setattr("local.terminal.agent.sleep", waits.append)
    return waits


def chat_at(origin: str, thread: str = "t") -> Chat:
    screen = Screen(is_terminal=False)
    return Chat(
        Agent(origin, "assistant", lambda: "token", screen.reconnecting), screen, thread_id=thread
    )


def test_each_wait_is_reported_and_the_end_says_how_to_come_back(
    waits: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    reported: list[float] = []
    with served(response(200, frame(STARTED))) as (origin, _):
        agent = Agent(origin, "assistant", lambda: "token", reported.append)
        with pytest.raises(Lost, match=r"There was no connection for .* may still be in progress"):
            list(agent.run(BODY))
    assert len(reported) == len(waits) == 10
    assert reported[0] == 0

    with served(response(200, frame(STARTED))) as (origin, _):
        assert chat_at(origin).say("hello") == FAILED
    shown = capsys.readouterr().err
    assert "chat --agent assistant --thread t` shows the answer" in shown
    assert "`python -m local chat --agent assistant --thread t`" in shown


def test_a_thread_whose_first_answer_is_lost_can_be_resumed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    snapshot = frame({"type": "RUN_STARTED", "runId": "r"}) + frame(
        {"type": "RUN_FINISHED", "outcome": {"type": "success"}}
    )
    with served(response(200, frame(STARTED)), *[response(503, json.dumps(UNAVAILABLE))] * 10) as (
        origin,
        _,
    ):
        chat = chat_at(origin, thread="")
        assert chat.say("hello") == FAILED
    assert "`make dev` says why" in capsys.readouterr().err
    with served(response(200, snapshot)) as (origin, requests):
        chat._agent = Agent(origin, "assistant", lambda: "token")
        chat._do("/resume", "")
    assert requests == [f"POST {PATH}/assistant/connect HTTP/1.1"]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("seconds", "line"), [(0, ""), (4.9, ""), (7.5, "Reconnecting for 8 s.\n")]
)
def test_a_script_gets_a_line_for_a_long_break_only(
    seconds: float, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    screen = Screen(is_terminal=False)
    screen.text("half an")
    screen.reconnecting(seconds)
    screen.text(" answer")
    assert tuple(capsys.readouterr()) == ("half an answer", line)


def test_a_terminal_counts_until_the_answer_continues(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("local.terminal.spinner._PATIENCE_SECONDS", 0.01)
    screen, shown = Screen(is_terminal=True), ""
    screen.start_waiting()
    screen.reconnecting(0)
    screen.reconnecting(0.5)
    while "… reconnecting, 0 s" not in shown:
        shown += capsys.readouterr().err
    assert shown.count("The connection broke.") == 1
    screen.text("on ")
    assert capsys.readouterr().err.endswith("\r\033[K")


def test_an_agent_that_does_not_start_points_to_make_dev() -> None:
    refusals = [response(503, json.dumps(UNAVAILABLE))] * 5
    with served(*refusals) as (origin, _):
        agent = Agent(origin, "assistant", lambda: "token")
        with pytest.raises(CannotStart) as refused:
            list(agent.run(BODY))
    assert str(refused.value) == (
        "The function cannot be reached. (unavailable)"
        " If assistant cannot start, the output of `make dev` says why."
    )


@pytest.mark.parametrize("path", ["", "/", "/functions", "/functions/v1", "/functions/v1/", PATH])
def test_the_start_of_an_address_is_completed(path: str) -> None:
    with served(response(200, "[]")) as (origin, requests):
        assert Agent(origin + path, "assistant", lambda: "token").request("GET", "/threads") == []
    assert requests == [f"GET {PATH}/threads HTTP/1.1"]


@pytest.mark.parametrize(("status", "body"), [(405, "Method Not Allowed"), (404, '"none"')])
def test_an_address_of_something_else_gets_the_form_that_it_must_have(
    status: int, body: str
) -> None:
    with served(response(status, body)) as (origin, _):
        agent = Agent(f"{origin}/api", "assistant", lambda: "token")
        with pytest.raises(
            CannotStart, match=f"There is no gateway at {origin}/api: .* ends with {PATH}"
        ):
            list(agent.run(BODY))


def test_a_script_whose_thread_has_an_open_question_learns_how_to_answer(
    capsys: pytest.CaptureFixture[str],
) -> None:
    problem = {"code": "interrupt_open", "detail": "It has an open interrupt."}
    with served(response(409, json.dumps(problem))) as (origin, _):
        assert chat_at(origin).say("hello") == WAITS
    shown = capsys.readouterr().err
    assert shown.startswith("This thread has an open question, so your message was not sent.\n")
    assert "chat --agent assistant --thread t` shows the question." in shown


def test_a_run_that_cannot_be_stopped_without_a_connection_is_not_lost(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("local.terminal.agent.sleep", interrupt)
    with served(response(200, frame(STARTED))) as (origin, _):
        assert chat_at(origin).say("hello") == FAILED
    shown = capsys.readouterr().err
    assert "There is no connection, so the run was not stopped. `python -m local chat" in shown
