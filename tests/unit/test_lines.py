"""The lines of a stream, however it is split into reads."""

import re
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.core.lines import LineReader, LineTooLong

_ENDS = re.compile(rb"\r\n|\r|\n")


@given(st.binary(max_size=60) | st.text("a\n\r", max_size=60).map(str.encode), st.data())
@example(b"a\r\nb\rc\n\n\r\r\n", None)
def test_the_lines_are_those_of_the_whole_stream(whole: bytes, data: st.DataObject | None) -> None:
    anywhere = range(len(whole) + 1)
    cuts = data.draw(st.lists(st.sampled_from(anywhere), max_size=8)) if data else anywhere
    reader = LineReader(1000)

    read = [
        line
        for start, end in pairwise([0, *sorted(cuts), len(whole)])
        for line in reader.feed(whole[start:end])
    ]

    assert [*read, *reader.feed(b"\n")] == _ENDS.split(whole + b"\n")[:-1]


@pytest.mark.parametrize("cut", range(5))
def test_a_byte_order_mark_is_no_part_of_the_first_line_and_of_others_it_is(cut: int) -> None:
    reader, whole = LineReader(1000), "\ufeffa\n\ufeffb\n".encode()

    read = [line for piece in (whole[:cut], whole[cut:]) for line in reader.feed(piece)]

    assert read == [b"a", "\ufeffb".encode()]


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
