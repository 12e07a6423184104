"""The lines of a stream of server-sent events, in time and memory that grow with the stream, not with its square."""

from typing import Final

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


class LineTooLong(ValueError):
    """A line is longer than the limit."""


class LineReader:
    """Splits an event stream that arrives in pieces into its lines (WHATWG HTML §9.2.5).

    A line ends with CR, LF, or CR and LF. A byte-order mark at the start of the stream is not part of its first line.

    `limit`: the most bytes that a line may have, about: the line that a piece completes is not measured.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        #: The pieces of the line that has not ended, and their bytes.
        self._pieces: list[bytes] = []
        self._size = 0
        self._is_first = True
        #: Whether the last piece ended with CR: a line feed that comes next belongs to it.
        self._ended_with_cr = False

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that these bytes complete, without their ends.

        Raises:
            LineTooLong: the line that has not ended is longer than the limit.
        """
        if b"\r" in data or self._ended_with_cr:
            data = self._with_line_feeds(data)
        self._pieces.append(data)
        lines: list[bytes] = []
        if b"\n" in data:
            *lines, rest = b"".join(self._pieces).split(b"\n")
            self._pieces, self._size = [rest], len(rest)
            if self._is_first:
                self._is_first = False
                lines[0] = lines[0].removeprefix(_BYTE_ORDER_MARK)
        else:
            self._size += len(data)
        if self._size > self._limit:
            raise LineTooLong
        return lines

    def _with_line_feeds(self, data: bytes) -> bytes:
        """The data with a line feed for each end of a line."""
        if self._ended_with_cr and data:
            self._ended_with_cr = False
            data = data.removeprefix(b"\n")
        replaced = data.replace(b"\r\n", b"\n")
        if b"\r" in replaced:
            self._ended_with_cr = data.endswith(b"\r")
            replaced = replaced.replace(b"\r", b"\n")
        return replaced
