"""Functions restart when their files change: real processes, in a folder of the test's own."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic, sleep

import pytest

from local.children import Child, Children
from local.probe import answer, free_port
from local.reload import Reloader

#: A function that answers every request with 200, and cannot start if its code is broken.
_SERVER = """
import http.server, sys
from pathlib import Path
if "broken" in Path(sys.argv[2]).read_text():
    sys.exit("app.py, line 1: SyntaxError: invalid syntax.")
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


class Dev:
    """Two agents and `runner`, as `make dev` runs them, and what it says."""

    def __init__(self, folder: Path, children: Children) -> None:
        self.folder = folder
        self.said: list[str] = []
        names = ("red-fox", "hare", "runner")
        for name in names:
            self.write(name, "1")
        self.functions = {name: self._start(children, name) for name in names}
        self.reloader = Reloader(self.functions, ["red-fox", "hare"], self.said.append, folder)

    def _start(self, children: Children, name: str) -> tuple[Child, int]:
        port = free_port()
        command = [sys.executable, "-c", _SERVER, str(port), str(self.file(name))]
        child = children.start(name, command, env={})
        wait_until(lambda: answer(port, "/readiness") == 200)
        return child, port

    def file(self, name: str) -> Path:
        return self.folder / name.replace("-", "_") / "app.py"

    def write(self, name: str, text: str) -> None:
        self.file(name).parent.mkdir(exist_ok=True)
        self.file(name).write_text(text)

    def starts(self) -> dict[str, int]:
        return {name: child.starts for name, (child, _) in self.functions.items()}

    def watch_until(self, line: str) -> None:
        def look() -> bool:
            self.reloader.check()
            return any(line in each for each in self.said)

        wait_until(look)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = monotonic() + 20
    while not condition():
        assert monotonic() < deadline
        sleep(0.02)


@pytest.fixture
def dev(tmp_path: Path) -> Iterator[Dev]:
    with Children(tmp_path / "logs") as children:
        yield Dev(tmp_path, children)


def test_a_changed_agent_restarts_and_so_does_the_runner_and_no_other_function(dev: Dev) -> None:
    dev.write("red-fox", "2 lines")

    dev.watch_until("ready      red-fox")
    dev.watch_until("ready      runner")

    assert dev.starts() == {"red-fox": 2, "hare": 1, "runner": 2}
    assert "  changed    app.py: restarting red-fox" in dev.said


def test_a_function_that_cannot_start_says_why_and_starts_after_the_next_change(dev: Dev) -> None:
    dev.write("hare", "broken")
    dev.watch_until("  stopped    hare: app.py, line 1: SyntaxError: invalid syntax.")
    child, port = dev.functions["hare"]
    assert dev.reloader.may_end(child)

    dev.write("hare", "mended")
    dev.watch_until("ready      hare")
    assert answer(port, "/readiness") == 200


def test_a_new_and_a_deleted_file_are_changes(dev: Dev) -> None:
    more = dev.file("hare").with_name("more.py")
    more.write_text("1")
    dev.watch_until("changed    more.py: restarting hare")
    dev.said.clear()
    more.unlink()
    dev.watch_until("changed    more.py: restarting hare")
    assert dev.starts()["red-fox"] == 1


def test_a_function_whose_files_are_gone_is_not_promised_to_start_again(dev: Dev) -> None:
    dev.file("hare").unlink()
    dev.watch_until("stopped    hare")
    assert any("Its files are gone; start `make dev` again" in line for line in dev.said)


def test_a_killed_function_starts_again(dev: Dev) -> None:
    child, port = dev.functions["hare"]
    assert not dev.reloader.may_end(child)
    os.kill(child.pid, signal.SIGKILL)
    wait_until(lambda: child.was_killed)
    assert dev.reloader.may_end(child)
    dev.watch_until("ready      hare")
    assert "  killed     hare: restarting it" in dev.said
    assert dev.starts() == {"red-fox": 1, "hare": 2, "runner": 1}
    assert answer(port, "/readiness") == 200


def test_a_function_that_ends_by_itself_ends_the_stack(dev: Dev) -> None:
    child, _ = dev.functions["hare"]
    os.kill(child.pid, signal.SIGTERM)
    wait_until(lambda: child.has_ended)
    dev.reloader.check()
    assert not dev.reloader.may_end(child)


def test_a_changed_list_of_functions_is_reported_once(dev: Dev) -> None:
    (dev.folder / "functions.json").write_text('{"functions": []}')
    dev.watch_until("functions.json: to serve its functions, start `make dev` again")
    said = len(dev.said)
    dev.reloader.check()
    assert len(dev.said) == said
