"""What the log and the items of one run must be. Each rule yields what breaks it."""

from collections import Counter
from collections.abc import Iterable

from tests.chaos.client import StartedRun
from tests.chaos.record import Record, is_answer
from tests.chaos.script import Script


def stuck(one: StartedRun, record: Record) -> Iterable[str]:
    """Every run has ended."""
    status = record.runs[one.client_run_id]["status"]
    if status in ("queued", "in_progress"):
        yield f"is {status}"


def endings(one: StartedRun, record: Record) -> Iterable[str]:
    """A run has one ending, as its last event: it completed, unless its client cancelled it."""
    types = [event["type"] for event in record.events[one.client_run_id]]
    ends = [
        t for t in types if t in ("run.completed", "run.cancelled", "run.failed", "run.incomplete")
    ]
    if len(ends) != 1 or types[-1] != ends[0]:
        yield f"ends with {ends}"
    elif ends[0] == "run.failed" or (ends[0] == "run.cancelled" and not one.is_cancelled):
        yield f"ends with {ends[0]}"


def gaps(one: StartedRun, record: Record) -> Iterable[str]:
    """The events are numbered without gaps, and attempts only grow."""
    expected, attempt = 1, 0
    for event in record.events[one.client_run_id]:
        if event["seq"] != expected or event["attempt"] < attempt:
            yield f"{event['type']} at {event['attempt']}.{event['seq']}, not {expected}"
        expected, attempt = event["seq"] + event["count"], event["attempt"]


def deltas(one: StartedRun, record: Record) -> Iterable[str]:
    """The deltas of a message in the log add up to its full value."""
    texts: dict[str, str] = {}
    for event in record.events[one.client_run_id]:
        if event["type"] == "item.delta" and event["data"]["channel"] == "text":
            added = "".join(event["data"]["deltas"])
            texts[event["item_id"]] = texts.get(event["item_id"], "") + added
        elif event["type"] == "item.completed" and event["data"]["kind"] == "message":
            whole = event["data"]["item"]["content"]
            if texts.get(event["item_id"]) != whole:
                yield f"{texts.get(event['item_id'])!r:.80} for {whole!r:.80}"


def against_script(one: StartedRun, record: Record, script: Script) -> Iterable[str]:
    """The thread has exactly the model's text of a run that was not cancelled."""
    if record.runs[one.client_run_id]["status"] != "completed":
        return
    turns = script.turns(one.task)
    texts = [i["data"]["content"] for i in record.items[one.client_run_id] if is_answer(i)]
    if texts != [turn.text for turn in turns]:
        yield f"holds {len(texts)} of {len(turns)} turns, or other text"
    called = Counter(
        i["data"]["name"] for i in record.items[one.client_run_id] if i["kind"] == "tool_call"
    )
    if called != Counter(name for turn in turns for name in turn.tools):
        yield f"called {dict(called)}"


def answered_twice(one: StartedRun, record: Record) -> Iterable[str]:
    """No call has two results."""
    answers = Counter(
        i["data"]["call_id"] for i in record.items[one.client_run_id] if i["kind"] == "tool_result"
    )
    yield from (f"{call_id} {times} times" for call_id, times in answers.items() if times > 1)
