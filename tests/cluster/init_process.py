"""A process that is the init of its PID namespace, as the one of a container is."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from tests.cluster.rehearsal import is_there

#: The image's user may not execute a Python of root's.
_PYTHON = "/usr/bin/python3"
NEEDED = ("unshare", "nsenter", _PYTHON)
_AS_FUNCTION = ("--setuid", "65532", "--setgid", "65532")
_SERVE = """
import os, signal, sys
from http.server import BaseHTTPRequestHandler, HTTPServer

class Health(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass

assert os.getpid() == 1
signal.signal(signal.SIGTERM, lambda *_: print("SIGTERM", flush=True))
HTTPServer(("127.0.0.1", int(sys.argv[1])), Health).serve_forever()
"""
#: A shell that is outside, and whose first child is the init.
_WAIT = '"$@"; echo "exit code $?"'


@dataclass(frozen=True)
class Init:
    """It answers on a port, and prints a line when it gets SIGTERM."""

    port: int
    _shell: "subprocess.Popen[str]"

    def is_alive(self) -> bool:
        return is_there(f"http://127.0.0.1:{self.port}/health")

    def run(self, script: str) -> int:
        """Run a script inside, as the same user; its exit code is negative where a signal ended it."""
        inside = ("nsenter", f"--pid=/proc/{self._shell.pid}/ns/pid_for_children", *_AS_FUNCTION)
        command = [*inside, _PYTHON, "-c", script]
        return subprocess.run(command, env={"PORT": str(self.port)}, timeout=60).returncode

    def ending(self) -> tuple[int, str]:
        """Wait until it has ended: its exit code as a shell has it, and what it printed."""
        printed, _ = self._shell.communicate(timeout=10)
        before, _, code = printed.rpartition("exit code ")
        return int(code), before


@contextmanager
def init_process(port: int) -> Iterator[Init]:
    command = ["unshare", "--pid", *_AS_FUNCTION, "sh", "-c", _WAIT, "sh"]
    serve = [_PYTHON, "-c", _SERVE, str(port)]
    shell = subprocess.Popen(
        [*command, *serve], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    with shell:
        try:
            yield Init(port, shell)
        finally:
            with suppress(ProcessLookupError):
                # From outside, SIGKILL reaches an init.
                os.killpg(shell.pid, signal.SIGKILL)
