"""The terminal's client before it is connected: each mistake is one sentence, at once."""

import os
import socket
from contextlib import closing
from pathlib import Path
from threading import Thread

import pytest

from local import CannotStart
from local.__main__ import main
from local.gateway import PATH
from local.probe import free_port
from local.running import Running, announce
from local.terminal.agent import Agent


@pytest.mark.parametrize(
    "url", ["", "example.com/functions/v1", "localhost:54321", "ftp://x", "http://"]
)
def test_an_address_without_a_scheme_or_host_is_refused(url: str) -> None:
    with pytest.raises(CannotStart, match="is no gateway's address"):
        Agent(url, "assistant", lambda: "token")


def test_no_server_is_reported_without_a_second_try() -> None:
    url = f"http://127.0.0.1:{free_port()}{PATH}"
    retries: list[float] = []
    agent = Agent(url, "assistant", lambda: "token", retries.append)
    body = {"threadId": "t", "runId": "r", "messages": []}
    with pytest.raises(CannotStart, match=f"No server answers at {url.removesuffix(PATH)}: "):
        list(agent.run(body))
    assert not retries


def test_a_server_that_goes_after_it_answered_is_waited_for() -> None:
    def note_retry(_: float) -> None:
        raise KeyboardInterrupt

    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        agent = Agent(url, "assistant", lambda: "token", note_retry)
        thread = Thread(target=lambda: server.accept()[0].close())
        thread.start()
        with pytest.raises(ConnectionResetError):
            agent.request("GET", "/threads/threads")
        thread.join()
    # The retry is what raises.
    with pytest.raises(KeyboardInterrupt):
        list(agent.run({"threadId": "t", "runId": "r", "messages": []}))


def test_https_where_a_server_speaks_http_is_one_sentence_at_once() -> None:
    def refuse(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    retries: list[float] = []
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        url = f"https://127.0.0.1:{server.getsockname()[1]}"
        thread = Thread(target=refuse, args=(server,))
        thread.start()
        agent = Agent(url, "assistant", lambda: "token", retries.append)
        with pytest.raises(CannotStart, match="does not speak TLS, so write http://"):
            list(agent.run({"threadId": "t", "runId": "r", "messages": []}))
        thread.join()
    assert not retries


def test_an_agent_that_is_not_served_is_named() -> None:
    body = b'{"code": "not_found", "detail": "There is nothing at this address."}'
    head = b"HTTP/1.1 404 Not Found\r\nContent-Length: %d\r\n\r\n" % len(body)

    def refuse(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(head + body)

    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        thread = Thread(target=refuse, args=(server,))
        thread.start()
        agent = Agent(url, "support", lambda: "token")
        with pytest.raises(CannotStart, match=f"No agent support is served at {url}. If you have"):
            list(agent.run({"threadId": "t", "runId": "r", "messages": []}))
        thread.join()


def test_a_token_without_an_address_is_for_the_gateway_of_make_dev(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("LOCAL_FOLDER", str(tmp_path))
    assert main(["chat", "--token", "x", "hello"]) == 1
    assert "`make dev` is not running" in capsys.readouterr().err
    with announce(tmp_path, Running(os.getpid(), f"http://127.0.0.1:{free_port()}", "", "")):
        assert main(["chat", "--token", "x", "hello"]) == 1
    assert "No server answers at http://127.0.0.1:" in capsys.readouterr().err
