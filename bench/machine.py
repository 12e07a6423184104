"""Processes pinned to cores, with the CPU and memory of their trees as the kernel reports them."""

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import clock_gettime, monotonic, sleep
from typing import Final

from bench import NotMeasured
from local.environment import ROOT
from local.probe import answer

#: The measured process has one core; clients, the model and Postgres have the other.
SERVER_CORE: Final = 0
OTHER_CORE: Final = 1


@dataclass(frozen=True)
class Process:
    """A started process."""

    popen: "subprocess.Popen[bytes]"
    started_at: float
    log: Path

    @property
    def pid(self) -> int:
        return self.popen.pid

    def cpu_ms(self) -> float:
        """CPU time of the process and its children, user and system."""
        return sum(cpu_ms(pid) for pid in self._tree())

    def pss_mb(self) -> float:
        """Proportional set size of the tree: shared pages count in part."""
        return sum(_pss_kb(pid) for pid in self._tree()) / 1024

    def _tree(self) -> list[int]:
        pids = [self.pid]
        for pid in pids:
            children = Path(f"/proc/{pid}/task/{pid}/children")
            with suppress(OSError):
                pids += [int(child) for child in children.read_text().split()]
        return pids

    def wait_ready(
        self, port: int, path: str, *, seconds: float = 60.0, expect: range = range(200, 201)
    ) -> float:
        """Milliseconds from exec to the first expected status.

        Raises:
            NotMeasured: it ended, or was not ready in time; the message has the last line of its log.
        """
        while answer(port, path) not in expect:
            if (code := self.popen.poll()) is not None:
                raise NotMeasured(f"ended with exit code {code} before it was ready: {self.last()}")
            if monotonic() - self.started_at > seconds:
                raise NotMeasured(f"not ready within {seconds:.0f} s: {self.last()}")
            sleep(0.002)
        return (monotonic() - self.started_at) * 1000

    def last(self) -> str:
        """The last line of its log."""
        lines = self.log.read_text(errors="replace").split("\n")
        return next((line for line in reversed(lines) if line.strip()), "no output")


@contextmanager
def process(
    command: Sequence[str],
    environ: Mapping[str, str],
    log: Path,
    *,
    core: int = SERVER_CORE,
    folder: Path | None = None,
) -> Iterator[Process]:
    """A process pinned to one core, killed with its children at the end."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        started_at = monotonic()
        popen = subprocess.Popen(
            ["taskset", "-c", str(core), *command],
            env={**_inherited(), **environ},
            stdout=output,
            stderr=output,
            cwd=folder,
            start_new_session=True,
        )
    try:
        yield Process(popen, started_at, log)
    except Exception as error:
        error.add_note(f"log: {log.relative_to(ROOT) if log.is_relative_to(ROOT) else log}")
        raise
    finally:
        with suppress(ProcessLookupError):
            os.killpg(popen.pid, signal.SIGKILL)
        popen.wait()


def _inherited() -> dict[str, str]:
    # With it, each start would compile all imported modules, which no image does.
    return {name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def cpu_ms(pid: int) -> float:
    """CPU time of one process, user and system; zero if there is none."""
    # The process's CPU clock (clock_getcpuclockid(3)): nanoseconds of all its threads, the ended ones too.
    with suppress(OSError):
        return clock_gettime(~pid << 3 | 2) * 1000
    return 0.0


def _pss_kb(pid: int) -> float:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return float(line.split()[1])
    return 0.0
