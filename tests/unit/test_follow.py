"""What a reader may be given of a log without breaking its picture."""

from shared.core.events import EventType, RunEvent
from shared.runs.feed import Feed
from shared.runs.reader import _sound


def event(attempt: int, seq: int, type_: EventType = "item.delta") -> RunEvent:
    return RunEvent(attempt, seq, type_, "i", {})


def test_events_are_sound_up_to_another_attempt_or_an_item_taken_back() -> None:
    first, second = event(1, 1), event(1, 2)

    assert _sound([first, second], 1, has_thread=True) == [first, second]
    assert _sound([first, event(2, 2)], 1, has_thread=True) == [first]
    assert _sound([event(2, 2)], 1, has_thread=True) == []
    taken_back = event(1, 2, "item.aborted")
    assert _sound([first, taken_back, event(1, 3)], 1, has_thread=True) == [first]


def test_a_reader_from_the_start_takes_the_first_attempt_it_sees() -> None:
    queued, begun = event(0, 1, "run.queued"), event(1, 2, "run.started")

    assert _sound([queued, begun], 0, has_thread=False) == [queued, begun]


def test_a_reader_that_was_shown_the_thread_before_its_run_began_is_shown_it_again() -> None:
    assert _sound([event(1, 2, "run.started")], 0, has_thread=True) == []


async def test_an_ending_closes_a_feed_and_nothing_else_does() -> None:
    feed = Feed(base=4)
    feed.publish([])
    feed.publish([event(1, 5)])
    assert not feed.is_closed
    feed.publish([event(1, 6, "run.completed")])

    assert feed.is_closed
    assert [[e.seq for e in news] async for news in feed.after(5, 60)] == [[6]]
