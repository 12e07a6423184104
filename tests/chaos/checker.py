"""Compares what clients saw, the log, the items and the effects with each other and with what must be."""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from tests.chaos.agents import Sender, other_agents
from tests.chaos.client import StartedRun
from tests.chaos.client_rules import against_view, zombies
from tests.chaos.effect_rules import effect_findings
from tests.chaos.effects import Effects
from tests.chaos.findings import Finding
from tests.chaos.log_rules import (
    against_script,
    answered_twice,
    deltas,
    endings,
    gaps,
    stuck,
)
from tests.chaos.record import Record, results
from tests.chaos.saboteur import Victim
from tests.chaos.script import Script

#: Yields what breaks an invariant in one run.
Rule: TypeAlias = Callable[[StartedRun], Iterable[str]]


def check(
    started: Sequence[StartedRun],
    record: Record,
    effects: Effects,
    script: Script,
    senders: dict[str, list[Sender]],
    victims: Sequence[Victim],
) -> list[Finding]:
    """Every invariant, with what broke it."""
    admitted = [one for one in started if one.client_run_id in record.runs]
    rules: dict[str, Rule] = {
        "stuck": lambda one: stuck(one, record),
        "endings that are not one": lambda one: endings(one, record),
        "gaps in the log": lambda one: gaps(one, record),
        "deltas other than their item": lambda one: deltas(one, record),
        "lost or other than the model's text": lambda one: against_script(one, record, script),
        "lost to a client": lambda one: against_view(one, record),
        "repeated to a client": lambda one: one.view.repeated,
        "broken order or early ends": lambda one: one.view.broken,
        "sent by a process without its run": lambda one: zombies(one, record),
        "requests of another agent": lambda one: other_agents(one, record, senders),
        "calls answered twice": lambda one: answered_twice(one, record),
    }
    # Also of a run that was never admitted.
    trouble = _finding("refused or in trouble", started, lambda one: one.trouble)
    findings = [_finding(name, admitted, rule) for name, rule in rules.items()]
    return [trouble, *findings, *effect_findings(record, effects), _not_recovered(victims)]


def _finding(name: str, runs: Sequence[StartedRun], rule: Rule) -> Finding:
    return Finding(name, [f"{one.client_run_id}: {case}" for one in runs for case in rule(one)])


def interrupted(started: set[tuple[str, int]], excused: set[tuple[str, int]]) -> Finding:
    """An attempt ends before its run only if it was hit or its time was over. A graceful stop is neither."""
    last: dict[str, int] = {}
    for run, attempt in started:
        last[run] = max(attempt, last.get(run, 0))
    early = sorted(started - excused - set(last.items()))
    cases = [f"{run}: attempt {attempt} of {last[run]}" for run, attempt in early]
    return Finding("interrupted for no reason", cases)


def unknown(record: Record) -> int:
    """Calls whose outcome is recorded as unknown."""
    return sum(item["data"].get("status") == "unknown" for item in results(record))


def _not_recovered(victims: Sequence[Victim]) -> Finding:
    """A run that lost its process continues in a new attempt, or had just ended."""
    return Finding("never recovered", [v.run for v in victims if v.recovered_after is None])
