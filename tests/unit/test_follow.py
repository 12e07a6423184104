"""What a reader may be given of a log without breaking its picture."""

from shared.contracts import Event
from shared.feed import Feed
from shared.follow import _sound


def event(attempt: int, seq: int, type_: str = "item.delta") -> Event:
    return Event(attempt, seq, type_, "i", {})


def test_events_are_sound_up_to_another_attempt_or_an_item_taken_back() -> None:
    first, second = event(1, 1), event(1, 2)

    assert _sound([first, second], 1) == [first, second]
    assert _sound([first, event(2, 2)], 1) == [first]
    assert _sound([event(2, 2)], 1) == []
    assert _sound([first, event(1, 2, "item.aborted"), event(1, 3)], 1) == [first]


def test_a_reader_from_the_start_takes_the_first_attempt_it_sees() -> None:
    queued, begun = event(0, 1, "run.queued"), event(1, 2, "run.started")

    assert _sound([queued, begun], 0) == [queued, begun]


async def test_an_ending_closes_a_feed_and_nothing_else_does() -> None:
    feed = Feed(base=4)
    feed.publish([])
    feed.publish([event(1, 5)])
    assert not feed.is_closed
    feed.publish([event(1, 6, "run.completed")])

    assert feed.is_closed
    assert [[e.seq for e in news] async for news in feed.after(5, 60)] == [[6]]
