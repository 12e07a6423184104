"""`make dev` finishes the runs of a killed process, even if no client follows them."""

import time
from dataclasses import dataclass, field, replace
from threading import Event, Thread
from typing import Any
from uuid import uuid4

import httpx
import pytest

from local.stack import RunningStack, start_stack
from tests.fixtures.stack import Stack, outside, plan_of, stack_folder
from tests.fixtures.waiting import PATIENCE

_QUICK = {"LEASE_SECONDS": "1", "LEASE_RENEW_SECONDS": "0.2", "TAKEOVER_GRACE_SECONDS": "0.2"}


class Stopped(Exception):
    """The test is over."""


@dataclass
class NoReloader:
    """Reloads nothing, and ends `watch` on request."""

    over: Event = field(default_factory=Event)

    def check(self) -> None:
        if self.over.is_set():
            raise Stopped

    def may_end(self, _: Any) -> bool:
        return False


def watch(running: RunningStack) -> None:
    with pytest.raises(Stopped):
        running.watch()


def test_a_killed_run_that_nobody_follows_is_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("local.stack._SWEEP_SECONDS", 0.5)
    with outside() as (model, _), stack_folder() as folder:
        plan = plan_of(folder, model, _QUICK)
        with start_stack(plan) as running:
            stack = Stack(running, plan.keys, model)
            address = f"{stack.gateway}/assistant/runs"
            headers = {"Authorization": f"Bearer {stack.token()}"}
            words = "|".join(f"word{n} " for n in range(20))
            message = {"id": "m1", "role": "user", "content": f"say: {words}"}
            run = {"threadId": str(uuid4()), "runId": str(uuid4()), "messages": [message]}
            with httpx.stream("POST", address, json=run, headers=headers) as answer:
                # `assistant` holds the run now, and the client goes.
                assert any("word3" in line for line in answer.iter_lines())
            (holder,) = (each for each in running.children.all if each.name == "assistant")
            holder.kill_and_restart()

            reloader = NoReloader()
            watched = replace(running, reloader=reloader)  # type: ignore[arg-type]  # all that is used
            watching = Thread(target=watch, args=(watched,))
            watching.start()
            assert status_at_end(f"{address}/{run['runId']}", headers) == "completed"
            reloader.over.set()
            watching.join()


def status_at_end(address: str, headers: dict[str, str]) -> str:
    """The run's status once it has ended. To read a run does not continue it."""
    deadline = time.monotonic() + PATIENCE
    while True:
        response = httpx.get(address, headers=headers)
        # Until the process runs again, the gateway answers with 503.
        status = str(response.json()["status"]) if response.status_code == 200 else "in_progress"
        if status not in ("queued", "in_progress"):
            return status
        assert time.monotonic() < deadline, response.text
        time.sleep(0.1)
