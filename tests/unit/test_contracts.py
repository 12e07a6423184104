"""Cursors, rows of the log, and text that Postgres can keep."""

from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.core.errors import InvalidCursor
from shared.core.events import Cursor, RunEvent, UnknownEvent, decode
from shared.core.items import Usage
from shared.core.json import clean, clean_json

places = st.integers(0, 999_999_999)


@given(places, places, st.none() | places)
def test_a_cursor_reads_what_it_wrote(attempt: int, seq: int, frame: int | None) -> None:
    cursor = Cursor(attempt, seq, frame)

    assert Cursor.parse(str(cursor)) == cursor


@given(st.text())
@example("1.²")
@example("\u0661.\u0662")
@example("1.2.3.4")
def test_any_other_text_is_an_invalid_cursor_and_never_a_crash(text: str) -> None:
    with suppress(InvalidCursor):
        assert str(Cursor.parse(text)).count(".") in (1, 2)


def test_neighbouring_deltas_of_a_row_become_events_again() -> None:
    row = {
        "attempt": 2,
        "seq": 5,
        "type": "item.delta",
        "item_id": "i",
        "data": {"channel": "text", "deltas": ["a", "b"]},
    }

    events = [event for event in decode(row) if isinstance(event, RunEvent)]

    assert [(e.attempt, e.seq, e.data["delta"]) for e in events] == [(2, 5, "a"), (2, 6, "b")]


def test_an_event_of_a_newer_version_keeps_its_place_and_is_unknown() -> None:
    row = {"attempt": 2, "seq": 5, "type": "run.paused", "item_id": None, "data": {"a": 1}}

    [event] = decode(row)

    assert event == UnknownEvent(2, 5, "run.paused")
    assert not event.ends_run


@pytest.mark.parametrize(
    ("given", "kept"), [("a\0b", "a\ufffdb"), ("\ud800x", "\ufffdx"), ("😀", "😀"), ("é", "é")]
)
def test_text_is_kept_as_far_as_postgres_can(given: str, kept: str) -> None:
    assert clean(given) == kept


@given(
    st.recursive(
        st.none() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
@example({"a\0": ["\ud800", "\0"]})
def test_cleaned_json_has_only_text_that_postgres_can_keep(value: object) -> None:
    assert "\0" not in repr(clean_json(value)).replace("\\x00", "\0")


def test_usage_of_a_newer_version_is_read_without_what_it_added() -> None:
    stored = {"input_tokens": 1, "output_tokens": 2, "model": "m"}

    assert Usage.from_json({**stored, "audio_tokens": 3}).to_json() == stored
