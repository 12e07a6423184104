"""`python3 -m bench.first_hour`: clone, install, get a first answer, make an agent of one's own, get its answer.

The clone and all caches are new. The script types the commands of the README without a pause, so the figures are those
of the machine and the network, not of reading. It needs nothing but Python, git and make.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from time import monotonic
from typing import Final
from urllib.request import ProxyHandler, Request, build_opener

from bench.downloads import Downloads, counted_downloads
from local.probe import free_port

_ROOT: Final = Path(__file__).parent.parent
#: Settings of the caller that would change what is installed or started.
_NOT_INHERITED: Final = ("OPENAI_", "SUPABASE_", "MODEL_", "PYTHON", "PIP_FIND_LINKS", "XDG_")
_AGENT: Final = '''"""Answers questions about our product."""

from shared.agents import Agent
from shared.http import agent_app

agent = Agent(instructions="You answer questions about our product, in two sentences at most.")
app = agent_app("support", agent)
'''
_MESSAGE: Final = "Name three colours."
#: A download that hangs; the slowest step takes a minute or two.
_SECONDS: Final = 900


class Walk:
    """One first hour, in a clone of its own."""

    def __init__(self, folder: Path, downloads: Downloads) -> None:
        self.clone = folder / "clone"
        self.home = folder / "home"
        self.home.mkdir()
        self._ports = {"GATEWAY_PORT": str(free_port()), "POSTGRES_PORT": str(free_port())}
        self._downloads = downloads
        self._started_at = monotonic()
        self.figures: dict[str, float] = {}

    def take(self, ref: str) -> None:
        self._run("git", "clone", "--quiet", str(_ROOT), str(self.clone), cwd=self.home)
        self._run("git", "checkout", "--quiet", ref)
        self._note("cloned")
        with self._dev():
            self._ask("assistant", "clone to first answer")
            self._note_sizes("for it")
        self._run(self._python, "-m", "functions", "new", "support")
        (self.clone / "functions/support/app.py").write_text(_AGENT)
        with self._dev():
            self._ask("support", "clone to first answer of an agent of one's own")
        self._note_sizes("in all")

    def clean(self) -> None:
        # The data may be outside the clone, where the user `nobody` can reach them.
        self._run("make", "clean")

    @property
    def _python(self) -> str:
        return str(self.clone / ".venv/bin/python")

    @property
    def _environ(self) -> Mapping[str, str]:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(_NOT_INHERITED)}
        proxy = self._downloads.address
        return {
            **inherited,
            **self._ports,
            "HOME": str(self.home),
            # Every package comes from the index, and is counted.
            "PIP_CONFIG_FILE": os.devnull,
            "HTTPS_PROXY": proxy,
            "https_proxy": proxy,
        }

    def _run(self, *command: str, cwd: Path | None = None) -> str:
        result = subprocess.run(
            command, cwd=cwd or self.clone, env=self._environ, stdout=subprocess.PIPE, text=True
        )
        if result.returncode:
            raise SystemExit(f"`{' '.join(command)}` ended with exit code {result.returncode}.")
        return result.stdout

    @contextmanager
    def _dev(self) -> Iterator[None]:
        """`make dev`, from the line that says that it is ready on."""
        process = subprocess.Popen(
            ["make", "dev", f"PYTHON={sys.executable}"],
            cwd=self.clone,
            env=self._environ,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert process.stdout
        try:
            for line in process.stdout:
                _show(line.rstrip())
                if line.startswith("Ready"):
                    break
            else:
                raise SystemExit(f"`make dev` ended with exit code {process.wait()}.")
            yield
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)
            process.communicate()

    def _ask(self, agent: str, name: str) -> None:
        """Note the time of the first word; wait until the answer has ended."""
        port = self._ports["GATEWAY_PORT"]
        message = {"id": "m1", "role": "user", "content": _MESSAGE}
        body = {"threadId": agent, "runId": agent, "messages": [message]}
        token = self._run(self._python, "-m", "local", "token").strip()
        request = Request(
            f"http://127.0.0.1:{port}/functions/v1/auth-gateway/{agent}/runs",
            json.dumps(body).encode(),
            {"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        )
        with build_opener(ProxyHandler({})).open(request, timeout=_SECONDS) as frames:
            for frame in frames:
                kind = json.loads(frame[6:])["type"] if frame.startswith(b"data: ") else ""
                if kind == "TEXT_MESSAGE_CONTENT" and f"{name}, s" not in self.figures:
                    self._note(name)
                if kind == "RUN_FINISHED":
                    return
        raise SystemExit(f"The run of {agent} did not finish.")

    def _note(self, name: str) -> None:
        self.figures[f"{name}, s"] = monotonic() - self._started_at
        _show(f"--- {name}: {self.figures[f'{name}, s']:.0f} s")

    def _note_sizes(self, when: str) -> None:
        self.figures[f"downloaded {when}, MB"] = self._downloads.received / 1e6
        self.figures[f"packages and caches on disk {when}, MB"] = (
            disk_bytes(self.home)
            + sum(disk_bytes(self.clone / name) for name in (".venv", "node_modules"))
        ) / 1e6


def disk_bytes(folder: Path) -> int:
    """What the folder's files occupy; a file with several names once."""
    sizes: dict[int, int] = {}
    for parent, _, names in os.walk(folder):
        for name in names:
            status = os.lstat(os.path.join(parent, name))
            sizes[status.st_ino] = status.st_blocks * 512
    return sum(sizes.values())


def _show(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def walk(ref: str) -> dict[str, float]:
    """The figures of a first hour with the commit: seconds and megabytes (10^6 bytes), by name."""
    folder = Path(mkdtemp(prefix="first-hour-"))
    try:
        with counted_downloads() as downloads:
            one = Walk(folder, downloads)
            one.take(ref)
            one.clean()
        return one.figures
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    """Print a row for each figure, with a column for each commit."""
    parser = argparse.ArgumentParser(prog="python3 -m bench.first_hour", description=__doc__)
    parser.add_argument(
        "refs", nargs="*", default=["HEAD"], help="commits to compare; default: HEAD"
    )
    refs = parser.parse_args().refs
    columns = [walk(ref) for ref in refs]
    print("|", " | ".join(["measure", *refs]), "|\n|---|" + "---|" * len(refs))
    for name in columns[0]:
        values = (f"{column[name]:,.0f}" for column in columns)
        print("|", " | ".join([name, *values]), "|")


if __name__ == "__main__":
    main()
