"""Child processes that end with their parent, even if the parent gets SIGKILL."""

import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from pwd import struct_passwd
from threading import Lock
from time import monotonic
from typing import Self, TypedDict

from local import CannotStart
from local.environment import ROOT

#: Ends the process groups that it reads, once its input closes: also if we are killed. PR_SET_PDEATHSIG is Linux only.
_GUARD = """
alive() { for group in $groups; do kill -s 0 -- -$group && return 0; done; return 1; }
while read -r how group; do groups="$groups $group"; ends="$ends $how:$group"; done
for end in $ends; do kill -s ${end%:*} -- -${end#*:}; done
tries=0
while alive && [ $tries -lt 50 ]; do sleep 0.1; tries=$((tries + 1)); done
for group in $groups; do kill -s KILL -- -$group; done
"""
_LAST_LINES = 8
_LINE_LENGTH = 300


class Child:
    """A started process, the leader of its own group, with its output in a log file."""

    def __init__(self, name: str, spawn: Callable[[], subprocess.Popen[bytes]], log: Path) -> None:
        self.name = name
        self.log = log
        #: The number of starts.
        self.starts = 1
        self._spawn = spawn
        self._process = spawn()
        self._started_at = monotonic()
        self._changing = Lock()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def age_ms(self) -> float:
        return (monotonic() - self._started_at) * 1000

    def check(self) -> None:
        """Check that the process still runs.

        Raises:
            CannotStart: it ended; the message has its exit code and the last lines of its log.
        """
        if not self.has_ended:
            return
        if sentence := self.last_sentence():
            raise CannotStart(f"{self.name} ended: {sentence}\n{self.log} has all that it wrote.")
        code = self._process.poll()
        raise CannotStart(
            f"{self.name} ended with exit code {code}; {self.log} ends with:\n{self.last_lines()}"
        )

    @property
    def has_ended(self) -> bool:
        with self._changing:
            return self._process.poll() is not None

    def last_sentence(self) -> str:
        """The last line of its log, if that is text for people; empty if it is a log line or part of a traceback."""
        lines = self.log.read_text(errors="replace").splitlines()
        last = lines[-1].rstrip() if lines else ""
        return last if last.endswith((".", ":", "?")) and not last.startswith((" ", "{")) else ""

    def last_lines(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()[-_LAST_LINES:]
        return "\n".join(f"    {line[:_LINE_LENGTH]}" for line in lines)

    def kill_and_restart(self) -> None:
        """Send SIGKILL and start the process again. A `check` at the same time does not see it gone."""
        with self._changing:
            os.killpg(self.pid, signal.SIGKILL)
            self._process.wait()
            self._start_again()

    @property
    def was_killed(self) -> bool:
        """Whether SIGKILL ended the process: `kill -9`, or a machine without free memory."""
        with self._changing:
            return self._was_killed()

    def restart_if_killed(self) -> bool:
        """Start the process again if SIGKILL ended it; returns whether it did."""
        with self._changing:
            if was_killed := self._was_killed():
                self._start_again()
            return was_killed

    def restart(self) -> None:
        """Stop the process, and start it again with an empty log. A `check` at the same time does not see it gone."""
        with self._changing:
            self.stop()
            self.log.unlink(missing_ok=True)
            self._start_again()

    def _was_killed(self) -> bool:
        return self._process.poll() == -signal.SIGKILL

    def _start_again(self) -> None:
        self._process = self._spawn()
        self._started_at = monotonic()
        self.starts += 1

    def send_stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Send the signal to end."""
        with suppress(ProcessLookupError):
            self._process.send_signal(how)

    def stop(self, how: signal.Signals = signal.SIGTERM, *, seconds: float = 10.0) -> None:
        """Send the signal, and wait until the process has ended."""
        self.send_stop(how)
        self.wait(seconds)

    def wait(self, seconds: float = 10.0) -> None:
        """Wait until the process has ended; kill its group if that takes longer."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()


@dataclass(frozen=True)
class _Process:
    child: Child
    stop: signal.Signals
    is_used_by_all: bool


class Children:
    """The processes of one stack. As a context, it ends them all at once on exit, those `used_by_all` last."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._processes: list[_Process] = []

    def __enter__(self) -> Self:
        self._logs.mkdir(parents=True, exist_ok=True)
        self._guard = subprocess.Popen(
            ["sh", "-c", _GUARD],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
        )
        return self

    def __exit__(self, *_: object) -> None:
        for are_used_by_all in (False, True):
            several = [each for each in self._processes if each.is_used_by_all == are_used_by_all]
            for each in several:
                each.child.send_stop(each.stop)
            for each in several:
                each.child.wait()
        self._guard.kill()
        self._guard.communicate()

    def start(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        env: Mapping[str, str],
        user: struct_passwd | None = None,
        stop: signal.Signals = signal.SIGTERM,
        used_by_all: bool = False,
    ) -> Child:
        """Start a process that the signal `stop` ends, as `user` if given; its output replaces `<name>.log`.

        A process `used_by_all` is stopped after all others have ended.

        Raises:
            CannotStart: the command cannot be executed.
        """
        log = self._logs / f"{name}.log"
        log.unlink(missing_ok=True)

        def spawn() -> subprocess.Popen[bytes]:
            process = _spawn(name, command, env, user, log)
            self._guard_group(process.pid, stop)
            return process

        child = Child(name, spawn, log)
        self._processes.append(_Process(child, stop, used_by_all))
        return child

    @property
    def all(self) -> list[Child]:
        return [each.child for each in self._processes]

    def _guard_group(self, group: int, stop: signal.Signals) -> None:
        if pipe := self._guard.stdin:
            pipe.write(f"{stop.name.removeprefix('SIG')} {group}\n".encode())
            pipe.flush()


def _spawn(
    name: str,
    command: Sequence[str | Path],
    env: Mapping[str, str],
    user: struct_passwd | None,
    log: Path,
) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        try:
            return subprocess.Popen(
                command,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **(as_user(user) or {"cwd": str(ROOT)}),
            )
        except OSError as error:
            raise CannotStart(
                f"{name} cannot be started: {command[0]}: {error.strerror}."
            ) from None


class Credentials(TypedDict, total=False):
    """The arguments of `subprocess` to run a child as another user."""

    user: int
    group: int
    extra_groups: list[str | int]
    cwd: str


def as_user(user: struct_passwd | None) -> Credentials:
    """The credentials of that user, without our groups and working folder; empty for None."""
    if user is None:
        return {}
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": [], "cwd": "/"}
