"""The lines of a stream of bytes, in time and memory that grow with the stream, not with its square."""


class LineTooLong(ValueError):
    """A line is longer than the limit."""


class LineReader:
    """Splits a stream that arrives in pieces at its line feeds.

    `limit`: the most bytes that a line may have, about: the line that a piece completes is not measured.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        #: The pieces of the line that has not ended, and their bytes.
        self._pieces: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that these bytes complete, without their line feeds.

        Raises:
            LineTooLong: the line that has not ended is longer than the limit.
        """
        self._pieces.append(data)
        lines: list[bytes] = []
        if b"\n" in data:
            *lines, rest = b"".join(self._pieces).split(b"\n")
            self._pieces, self._size = [rest], len(rest)
        else:
            self._size += len(data)
        if self._size > self._limit:
            raise LineTooLong
        return lines
