"""Compares what clients saw, the log, the items and the effects with each other and with what must be."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from tests.chaos.client import StartedRun
from tests.chaos.effects import Effects
from tests.chaos.saboteur import Victim
from tests.chaos.script import CHARGE, Script

#: Seconds that a frame may be in flight.
_ON_THE_WAY = 0.7

_RUNS = "select id, client_run_id, status, attempt, last_seq from agent.run"
_EVENTS = """
select run.client_run_id, event.seq, event.count, event.attempt, event.type, event.item_id::text as item_id,
       event.data,
       extract(epoch from event.created_at)::float8 as at
  from agent.run_event event join agent.run on run.id = event.run_id order by run.client_run_id, event.seq
"""
_ITEMS = """
select run.client_run_id as run, item.key, item.kind, item.data from agent.item join agent.run on run.id = item.run_id
 where superseded_at is null order by item.position
"""


@dataclass
class Finding:
    """One invariant: how often it was broken, and the first cases."""

    name: str
    cases: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        shown = f"  such as {'; '.join(self.cases[:3])}" if self.cases else ""
        return f"{self.name:<36} {len(self.cases)}{shown}"


@dataclass
class Recorded:
    """The contents of Postgres at the end."""

    runs: dict[str, Any]
    events: dict[str, list[Any]]
    items: dict[str, list[Any]]


async def recorded(owner: "asyncpg.Pool[asyncpg.Record]") -> Recorded:
    """Read everything."""
    runs = {row["client_run_id"]: row for row in await owner.fetch(_RUNS)}
    events: dict[str, list[Any]] = {key: [] for key in runs}
    items: dict[str, list[Any]] = {key: [] for key in runs}
    for row in await owner.fetch(_EVENTS):
        events[row["client_run_id"]].append({**row, "data": json.loads(row["data"])})
    for row in await owner.fetch(_ITEMS):
        items[row["run"]].append({**row, "data": json.loads(row["data"])})
    return Recorded(runs, events, items)


def check(
    started_runs: Sequence[StartedRun],
    kept: Recorded,
    effects: Effects,
    script: Script,
    victims: Sequence[Victim],
) -> list[Finding]:
    """Every invariant, with what broke it."""
    started = [one for one in started_runs if one.client_run_id in kept.runs]
    rules: dict[str, Callable[[StartedRun], Iterable[str]]] = {
        "stuck": lambda one: _stuck(one, kept),
        "refused or in trouble": lambda one: one.trouble,
        "endings that are not one": lambda one: _endings(one, kept),
        "gaps in the log": lambda one: _gaps(one, kept),
        "deltas other than their item": lambda one: _deltas(one, kept),
        "lost or other than the model's text": lambda one: _against_script(one, kept, script),
        "lost to a client": lambda one: _against_view(one, kept),
        "repeated to a client": lambda one: one.view.repeated,
        "broken order or early ends": lambda one: one.view.broken,
        "sent by a process without its run": lambda one: _zombies(one, kept),
        "calls answered twice": lambda one: _answered_twice(one, kept),
    }
    findings = [
        Finding(name, [f"{one.client_run_id}: {case}" for one in started for case in rule(one)])
        for name, rule in rules.items()
    ]
    return [*findings, *_effects(kept, effects), *_taken_over(kept, victims)]


def interrupted(started: set[tuple[str, int]], excused: set[tuple[str, int]]) -> Finding:
    """An attempt ends before its run only if it was hit or its time was over. A graceful stop is neither."""
    last: dict[str, int] = {}
    for run, attempt in started:
        last[run] = max(attempt, last.get(run, 0))
    early = sorted(started - excused - set(last.items()))
    cases = [f"{run}: attempt {attempt} of {last[run]}" for run, attempt in early]
    return Finding("interrupted for no reason", cases)


def unknown(kept: Recorded) -> int:
    """Calls whose outcome is recorded as unknown."""
    return sum(item["data"].get("status") == "unknown" for item in _results(kept))


def _results(kept: Recorded) -> list[Any]:
    return [i for items in kept.items.values() for i in items if i["kind"] == "tool_result"]


def _stuck(one: StartedRun, kept: Recorded) -> Iterable[str]:
    status = kept.runs[one.client_run_id]["status"]
    if status in ("queued", "in_progress"):
        yield f"is {status}"


def _endings(one: StartedRun, kept: Recorded) -> Iterable[str]:
    types = [event["type"] for event in kept.events[one.client_run_id]]
    ends = [
        t for t in types if t in ("run.completed", "run.cancelled", "run.failed", "run.incomplete")
    ]
    if len(ends) != 1 or types[-1] != ends[0]:
        yield f"ends with {ends}"
    elif ends[0] == "run.failed" or (ends[0] == "run.cancelled" and not one.is_cancelled):
        yield f"ends with {ends[0]}"


def _gaps(one: StartedRun, kept: Recorded) -> Iterable[str]:
    expected, attempt = 1, 0
    for event in kept.events[one.client_run_id]:
        if event["seq"] != expected or event["attempt"] < attempt:
            yield f"{event['type']} at {event['attempt']}.{event['seq']}, not {expected}"
        expected, attempt = event["seq"] + event["count"], event["attempt"]


def _deltas(one: StartedRun, kept: Recorded) -> Iterable[str]:
    """The deltas of a message in the log add up to its full value."""
    texts: dict[str, str] = {}
    for event in kept.events[one.client_run_id]:
        if event["type"] == "item.delta" and event["data"]["channel"] == "text":
            added = "".join(event["data"]["deltas"])
            texts[event["item_id"]] = texts.get(event["item_id"], "") + added
        elif event["type"] == "item.completed" and event["data"]["kind"] == "message":
            whole = event["data"]["item"]["content"]
            if texts.get(event["item_id"]) != whole:
                yield f"{texts.get(event['item_id'])!r:.80} for {whole!r:.80}"


def _against_script(one: StartedRun, kept: Recorded, script: Script) -> Iterable[str]:
    """The thread has exactly the model's text of a run that was not cancelled."""
    if kept.runs[one.client_run_id]["status"] != "completed":
        return
    turns = script.turns(one.task)
    texts = [i["data"]["content"] for i in kept.items[one.client_run_id] if _is_answer(i)]
    if texts != [turn.text for turn in turns]:
        yield f"holds {len(texts)} of {len(turns)} turns, or other text"
    called = Counter(
        i["data"]["name"] for i in kept.items[one.client_run_id] if i["kind"] == "tool_call"
    )
    if called != Counter(name for turn in turns for name in turn.tools):
        yield f"called {dict(called)}"


def _is_answer(item: Any) -> bool:
    return bool(item["kind"] == "message" and item["data"]["role"] == "assistant")


def _against_view(one: StartedRun, kept: Recorded) -> Iterable[str]:
    """A client at the end of its run shows what the thread has of it."""
    if one.view.ending is None:
        return
    items = kept.items[one.client_run_id]
    mine = {item["key"]: item["data"]["content"] for item in items if _is_answer(item)}
    texts = {key: text for key, text in one.view.texts.items() if key in mine or _is_new(key, kept)}
    # A turn without text is a message only in snapshots, where its calls need one.
    shown = {key: text for key, text in texts.items() if text}
    for key in shown.keys() | mine.keys():
        if shown.get(key) != mine.get(key):
            yield f"shows {shown.get(key)!r:.80} for {mine.get(key)!r:.80} ({one.view.way})"
    results = {
        i["data"]["call_id"]: i["data"]["content"] for i in items if i["kind"] == "tool_result"
    }
    if results.items() - one.view.results.items():
        yield "misses a tool's result"


def _is_new(key: str, kept: Recorded) -> bool:
    """Whether no run of the thread has this message: a snapshot also shows messages of earlier runs."""
    return not any(item["key"] == key for items in kept.items.values() for item in items)


def _zombies(one: StartedRun, kept: Recorded) -> Iterable[str]:
    """Text that is in no log may arrive only while it was in flight when its process lost the run."""
    logged: dict[tuple[int, int], str] = {}
    began: dict[int, float] = {}
    for event in kept.events[one.client_run_id]:
        began.setdefault(event["attempt"], event["at"])
        if event["type"] == "item.delta":
            for nth, delta in enumerate(event["data"]["deltas"]):
                logged[event["attempt"], event["seq"] + nth] = delta
    for seen in one.view.seen:
        if logged.get((seen.attempt, seen.seq)) == seen.delta:
            continue
        later = [at for attempt, at in began.items() if attempt > seen.attempt]
        if later and seen.at > min(later) + _ON_THE_WAY:
            yield f"{seen.attempt}.{seen.seq} came {seen.at - min(later):.1f} s after its process lost the run"


def _answered_twice(one: StartedRun, kept: Recorded) -> Iterable[str]:
    answers = Counter(
        i["data"]["call_id"] for i in kept.items[one.client_run_id] if i["kind"] == "tool_result"
    )
    yield from (f"{call_id} {times} times" for call_id, times in answers.items() if times > 1)


def _effects(kept: Recorded, effects: Effects) -> list[Finding]:
    happened = effects.happened()
    lost = [
        item["data"]["call_id"]
        for item in _results(kept)
        if "status" not in item["data"] and item["data"]["call_id"] not in happened
    ]
    calls = {
        i["key"]: i for items in kept.items.values() for i in items if i["kind"] == "tool_call"
    }
    silent = [
        id_ for name, id_ in effects.done if name == CHARGE and not _is_accounted(id_, calls, kept)
    ]
    return [
        Finding("effects repeated", effects.repeated()),
        Finding("effects lost", lost),
        Finding("effects before they were in the log", effects.early),
        Finding("effects missing in the thread", silent),
    ]


def _is_accounted(call_id: str, calls: dict[str, Any], kept: Recorded) -> bool:
    """Whether the thread has the call, with a result or in a run that was cancelled over it."""
    if call_id not in calls:
        return False
    if kept.runs[calls[call_id]["run"]]["status"] == "cancelled":
        return True
    return any(item["data"]["call_id"] == call_id for item in _results(kept))


def _taken_over(kept: Recorded, victims: Sequence[Victim]) -> list[Finding]:
    """A run that lost its process continues in a new attempt, or had just ended."""
    never = [v.run for v in victims if v.recovered_after is None]
    return [Finding("never recovered", never)]
