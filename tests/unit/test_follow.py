"""Which events of a log a reader may get without a snapshot."""

from shared.core.events import EventType, RunEvent
from shared.core.json import Json
from shared.runs.feed import Feed
from shared.runs.keep_alive import KeepAlive
from shared.runs.reader import _until_snapshot_needed
from shared.runs.results import Leased


def event(attempt: int, seq: int, type_: EventType = "item.delta") -> RunEvent:
    return RunEvent(attempt, seq, type_, "i", {})


def test_events_are_until_snapshot_needed_up_to_another_attempt_or_an_aborted_item() -> None:
    first, second = event(1, 1), event(1, 2)

    assert _until_snapshot_needed([first, second], 1, has_snapshot=True) == [first, second]
    assert _until_snapshot_needed([first, event(2, 2)], 1, has_snapshot=True) == [first]
    assert _until_snapshot_needed([event(2, 2)], 1, has_snapshot=True) == []
    aborted = event(1, 2, "item.aborted")
    assert _until_snapshot_needed([first, aborted, event(1, 3)], 1, has_snapshot=True) == [first]


def test_a_reader_from_the_start_accepts_the_first_attempt_in_the_log() -> None:
    queued, started = event(0, 1, "run.queued"), event(1, 2, "run.started")

    assert _until_snapshot_needed([queued, started], 0, has_snapshot=False) == [queued, started]


def test_a_reader_whose_snapshot_is_older_than_the_run_gets_another_one() -> None:
    assert _until_snapshot_needed([event(1, 2, "run.started")], 0, has_snapshot=True) == []


async def test_an_ending_closes_a_feed_and_nothing_else_does() -> None:
    feed = Feed(base=4)
    feed.publish([])
    feed.publish([event(1, 5)])
    assert not feed.is_closed
    feed.publish([event(1, 6, "run.completed")])

    assert feed.is_closed
    assert [[e.seq for e in news] async for news in feed.after(5, KeepAlive(60))] == [[6]]


async def test_a_claim_s_event_of_a_newer_version_keeps_its_place_in_the_feed() -> None:
    lease = {
        "run_id": "r",
        "client_run_id": "1",
        "client_thread_id": "t",
        "agent": "assistant",
        "token": "x",
        "attempt": 1,
    }
    types = enumerate(("run.placed", "run.started"), 2)
    events: list[Json] = [
        {"attempt": 1, "seq": n, "type": t, "item_id": None, "data": {}} for n, t in types
    ]
    more = {
        "base": 1,
        "last_seq": 3,
        "claims": {},
        "request": {},
        "items": [],
        "unfinished_calls": {},
    }
    leased = Leased.from_row({**lease, **more, "events": events}, since=0.0)
    feed = Feed(base=leased.base)
    feed.publish(leased.events)
    feed.publish([event(1, 4)])
    feed.close()

    assert [[e.seq for e in news] async for news in feed.after(3, KeepAlive(60))] == [[4]]
