"""What takes longer than a person expects says what it waits for."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from time import sleep

import pytest

from local.children import Children
from local.probe import wait_until_responding
from local.terminal.spinner import Spinner


@contextmanager
def late_server(is_ready: threading.Event) -> Iterator[int]:
    """A port that answers with 503 until the event is set."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if is_ready.is_set() else 503)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_part_that_is_late_is_said_once(tmp_path: Path) -> None:
    is_ready, said = threading.Event(), []

    def say_late() -> None:
        said.append("late")
        is_ready.set()

    with Children(tmp_path) as children, late_server(is_ready) as port:
        part = children.start("part", ["sleep", "60"], env={})
        wait_until_responding(part, port, "/", seconds=60, say_late=say_late)
        assert said == ["late"]
        wait_until_responding(part, port, "/", seconds=60, say_late=say_late)
    assert said == ["late"], "a part that responds at once is not late"


def test_ctrl_c_while_a_spinner_starts_leaves_one_that_works(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(_: threading.Thread) -> None:
        raise KeyboardInterrupt

    spinner = Spinner(True)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", interrupted)
        with pytest.raises(KeyboardInterrupt):
            spinner.start()
    spinner.stop()
    spinner.start()
    spinner.stop()


def test_a_spinner_says_what_it_waits_for(capsys: pytest.CaptureFixture[str]) -> None:
    spinner, shown = Spinner(True), ""
    spinner.start("starting")
    spinner.start("applying migrations")
    while "applying migrations, " not in shown:
        sleep(0.01)
        shown += capsys.readouterr().err
    spinner.stop()
    assert capsys.readouterr().err.endswith("\r\033[K"), "the line disappears"
