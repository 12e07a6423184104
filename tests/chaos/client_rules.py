"""What the client of one run must have seen. Each rule yields what breaks it."""

from collections.abc import Iterable

from tests.chaos.client import StartedRun
from tests.chaos.record import Record, is_answer

#: Seconds that a frame may be in flight.
_ON_THE_WAY = 0.7


def against_view(one: StartedRun, record: Record) -> Iterable[str]:
    """A client at the end of its run shows what the thread has of it."""
    if one.view.ending is None:
        return
    items = record.items[one.client_run_id]
    mine = {item["key"]: item["data"]["content"] for item in items if is_answer(item)}
    texts = {
        key: text for key, text in one.view.texts.items() if key in mine or _is_new(key, record)
    }
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


def _is_new(key: str, record: Record) -> bool:
    """Whether no run of the thread has this message: a snapshot also shows messages of earlier runs."""
    return not any(item["key"] == key for items in record.items.values() for item in items)


def zombies(one: StartedRun, record: Record) -> Iterable[str]:
    """Text that is in no log may arrive only while it was in flight when its process lost the run."""
    logged: dict[tuple[int, int], str] = {}
    began: dict[int, float] = {}
    for event in record.events[one.client_run_id]:
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
