"""The contenders: our functions, the floors, and the naive servers. Each has its own virtual environment."""

import hashlib
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, Literal
from uuid import uuid4

from bench import NotMeasured
from bench.load import request
from bench.machine import SERVER_CORE, Process, process
from bench.site import FOLDER, Site
from local.environment import ROOT
from local.probe import free_port

Kind = Literal["ours", "floor", "naive", "peer"]
JSON: Final = {"content-type": "application/json"}
_NONE: Final[Mapping[str, str]] = {}
WEB: Final = ("fastapi", "uvicorn", "uvloop", "httptools")


@dataclass(frozen=True)
class Contender:
    """One system under measurement.

    `command` starts it on a port with the environment `environ`. `request` makes the bytes of a request for a prompt
    `<tokens>x<ms>`, whose response has the model's text. `packages` are installed into its own virtual environment,
    ours with our constraints. `python` is the version it needs, if not ours.
    """

    name: str
    kind: Kind
    packages: tuple[str, ...]
    command: Callable[[int], list[str]]
    environ: Callable[[Site], dict[str, str]]
    request: Callable[[Site, str], bytes]
    ready: str = "/health"
    #: The database of its runs; empty if it does not store them.
    database: str = ""
    python: str = ""
    is_pinned_here: bool = False

    @property
    def home(self) -> Path:
        return FOLDER / "venvs" / ("ours" if self.kind == "ours" else self.name)

    def install(self) -> Path:
        """The Python of its virtual environment, byte-compiled; created once for these packages and constraints.

        Raises:
            NotMeasured: pip failed; the message has its last line.
        """
        python, marker = self.home / "bin" / "python", self.home / "installed"
        pinned = [] if self.is_pinned_here else ["-c", str(ROOT / "constraints.txt")]
        inputs = repr(self.packages) + ("" if self.is_pinned_here else _constraints())
        if not marker.exists() or marker.read_text() != inputs:
            interpreter = f"python{self.python}" if self.python else sys.executable
            # If pyenv's shim is first on the path, this selects its version.
            environ = {"PYENV_VERSION": self.python} if self.python else {}
            self._run([interpreter, "-m", "venv", "--clear", str(self.home)], **environ)
            pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            self._run([*pip, *pinned, *self.packages])
            compiled = [str(python), "-m", "compileall", "-q", "-j", "2", str(self.home / "lib")]
            # Some packages contain files that are not valid Python, which nothing imports.
            subprocess.run(compiled, check=False, stdout=subprocess.DEVNULL)
            marker.write_text(inputs)
        return python

    def _run(self, command: list[str], **environ: str) -> None:
        env = {**os.environ, **environ}
        process = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
        if process.returncode:
            lines = (process.stderr or process.stdout).strip().splitlines() or ["no output"]
            raise NotMeasured(f"cannot be installed: {lines[-1]}")

    @contextmanager
    def running(
        self, site: Site, *, core: int = SERVER_CORE, **variables: str
    ) -> Iterator[tuple[Process, int, float]]:
        """Run it: its process, its port, and the milliseconds from exec to ready."""
        with self.starting(site, core=core, variables=variables) as (server, port):
            yield server, port, server.wait_ready(port, self.ready)

    @contextmanager
    def starting(
        self, site: Site, *, core: int = SERVER_CORE, variables: Mapping[str, str] = _NONE
    ) -> Iterator[tuple[Process, int]]:
        """Run it: its process, and the port on which it will listen."""
        port = free_port()
        command = [str(self.install()), *self.command(port)]
        environ = {"PORT": str(port), "PYTHONPATH": str(ROOT), **self.environ(site), **variables}
        log = site.logs / f"{self.name}-{port}.log"
        with process(command, environ, log, core=core, folder=ROOT) as server:
            yield server, port


@cache
def _constraints() -> str:
    return hashlib.sha256((ROOT / "constraints.txt").read_bytes()).hexdigest()


def app(module: str) -> Callable[[int], list[str]]:
    return lambda port: ["-m", "bench.apps.serve", f"bench.apps.{module}", str(port)]


def model_port(site: Site) -> dict[str, str]:
    return {"BENCH_MODEL_PORT": str(site.model_port)}


def _with_database(site: Site) -> dict[str, str]:
    return {**model_port(site), "BENCH_DATABASE_URL": site.database("naive")}


def chat(_: Site, prompt: str) -> bytes:
    return request("POST", "/chat", json.dumps({"message": prompt}).encode(), JSON)


def _completions(_: Site, prompt: str) -> bytes:
    body = {"model": "bench", "stream": True, "messages": [{"role": "user", "content": prompt}]}
    return request("POST", "/v1/chat/completions", json.dumps(body).encode(), JSON)


def run_input(prompt: str, **more: object) -> bytes:
    """A RunAgentInput of a new thread."""
    message = {"id": str(uuid4()), "role": "user", "content": prompt}
    ids = {"threadId": str(uuid4()), "runId": str(uuid4())}
    return json.dumps({**ids, "messages": [message], **more}).encode()


def _run(site: Site, prompt: str) -> bytes:
    signed = site.signed("bench", "assistant", "POST", "/runs")
    return request("POST", "/runs", run_input(prompt), {**JSON, **signed})


def _packages() -> tuple[str, ...]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return tuple(project["dependencies"])


def _ours(name: str) -> Contender:
    return Contender(
        name=name,
        kind="ours",
        packages=_packages(),
        command=lambda port: ["-m", "functions", name],
        environ=lambda site: site.settings(),
        request=_run,
        ready="/readiness",
        database="postgres",
    )


AGENT, THREADS, TOOLS, RUNNER = map(_ours, ("assistant", "threads", "tools", "runner"))
HELLO = Contender("hello", "floor", WEB, app("hello"), model_port, chat)
PASSTHROUGH = Contender(
    "passthrough",
    "floor",
    ("uvloop",),
    lambda port: ["-m", "bench.apps.passthrough", str(port)],
    model_port,
    _completions,
)
NAIVE = Contender("naive", "naive", (*WEB, "openai"), app("naive"), model_port, chat)
NAIVE_POSTGRES = Contender(
    "naive+postgres",
    "naive",
    (*WEB, "openai", "asyncpg"),
    app("naive_postgres"),
    _with_database,
    chat,
    database="naive",
)
