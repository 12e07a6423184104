"""How many runs a process executes, counted from its log lines."""

import json
from pathlib import Path

from local.live_runs import LiveRuns


def write(log: Path, *lines: str) -> None:
    with log.open("a") as file:
        file.write("".join(lines))


def line(event: str, run: str = "", user: str = "u") -> str:
    return json.dumps({"event": event, "run_id": run, "user_id": user}) + "\n"


READY = line("function.ready")


def test_runs_are_counted_as_they_start_and_end(tmp_path: Path) -> None:
    log = tmp_path / "agent.log"
    write(log, READY, line("run.started", "a"), line("run.started", "b"), "not JSON\n", "[1]\n")
    held = LiveRuns(log)
    assert held.count() == 2

    write(log, line("run.ended", "a"), line("run.started", "a", "another"))
    assert held.count() == 2
    write(log, line("run.lease_lost", "b"), line("run.ended", "a", "another"))
    assert held.count() == 0


def test_half_a_line_is_read_once_it_is_whole(tmp_path: Path) -> None:
    log = tmp_path / "agent.log"
    started = line("run.started", "a")
    write(log, READY, started[:10])
    held = LiveRuns(log)
    assert held.count() == 0

    write(log, started[10:])
    assert held.count() == 1


def test_a_new_process_starts_without_the_runs_of_the_last_one(tmp_path: Path) -> None:
    log = tmp_path / "agent.log"
    write(log, READY, line("run.started", "a"), READY)
    assert LiveRuns(log).count() == 0


def test_a_log_without_a_start_gives_no_count(tmp_path: Path) -> None:
    log = tmp_path / "agent.log"
    write(log, "a warning\n")
    assert LiveRuns(log).count() is None
