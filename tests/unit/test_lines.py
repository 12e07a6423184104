"""The lines of a stream, however it is split into reads."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.lines import LineReader, LineTooLong


@given(st.binary(max_size=60) | st.text("a\n\r", max_size=60).map(str.encode), st.data())
def test_the_lines_are_those_of_the_whole_stream(whole: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=8)))
    reader = LineReader(1000)

    read = [
        line
        for start, end in pairwise([0, *cuts, len(whole)])
        for line in reader.feed(whole[start:end])
    ]

    assert [*read, *reader.feed(b"\n")] == whole.split(b"\n")


class Piece(bytes):
    """Bytes that cannot be added to others: that would copy all that came before, with each read."""

    def __radd__(self, other: bytes) -> bytes:
        raise AssertionError("copied")


def test_a_read_that_ends_no_line_copies_nothing() -> None:
    reader = LineReader(1000)

    assert [reader.feed(Piece(b"ab")) for _ in range(9)] == [[]] * 9
    assert reader.feed(b"\n") == [b"ab" * 9]


def test_a_line_that_is_too_long_is_not_kept() -> None:
    reader = LineReader(10)
    assert reader.feed(b"0123456789") == []
    assert reader.feed(b"\n0123456789\n0123456789") == [b"0123456789"] * 2

    with pytest.raises(LineTooLong):
        reader.feed(b"x")
