"""The check that every request for a run is one of the run's agent."""

from dataclasses import replace

import pytest

from tests.chaos.agents import AGENTS, Sender, expected_sender, other_agents
from tests.chaos.client import StartedRun
from tests.chaos.record import Record
from tests.chaos.view import View


def cases(*senders: Sender, agent: str = "trips", recorded: str = "trips") -> list[str]:
    """What is wrong with a run of an agent, after these requests."""
    run = StartedRun("run-1", "thread-1", agent, "task-1", View("run-1"))
    record = Record(runs={"run-1": {"agent": recorded}}, events={}, items={})
    return [*other_agents(run, record, {"task-1": [*senders]})]


@pytest.mark.parametrize("name", AGENTS)
def test_requests_of_the_agent_of_a_run_are_right(name: str) -> None:
    assert cases(*[expected_sender(name)] * 2, agent=name, recorded=name) == []


@pytest.mark.parametrize("part", ["server", "model", "instructions"])
def test_one_request_with_a_part_of_another_agent_is_found(part: str) -> None:
    right, other = expected_sender("trips"), expected_sender("assistant")
    wrong = replace(right, **{part: getattr(other, part)})

    assert len(cases(right, wrong, right)) == 1


def test_a_run_that_was_admitted_for_another_agent_is_found() -> None:
    assert len(cases(expected_sender("trips"), recorded="assistant")) == 1
