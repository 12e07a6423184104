"""When silent streams need a sign of life. One timer serves all streams of a process, which wakes once for all."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

#: Beats of silence after which a keep-alive is due. The first one may come right after the last event.
_BEATS = 2


class Silence:
    """How long one stream has been silent."""

    def __init__(self, due_after: int) -> None:
        self._due_after = due_after
        self._beats = 0
        self._waiter: asyncio.Future[None] | None = None

    @property
    def is_due(self) -> bool:
        """Whether the stream needs a keep-alive."""
        return self._beats >= self._due_after

    def end(self) -> None:
        """Note that something was sent."""
        self._beats = 0

    def wakes(self, waiter: asyncio.Future[None]) -> None:
        """Resolve this future when a keep-alive is due, instead of the one before."""
        self._waiter = waiter

    def beat(self) -> None:
        """Note that a beat has passed in silence."""
        self._beats += 1
        if self.is_due and self._waiter and not self._waiter.done():
            self._waiter.set_result(None)


class KeepAlive:
    """The signs of life of all streams of a process: each is due after `seconds` of silence, or up to half as early.

    With zero seconds, one is due whenever there is no news.
    """

    def __init__(self, seconds: float) -> None:
        self._beat_seconds = seconds / _BEATS
        self._due_after = _BEATS if seconds else 0
        self._silences: set[Silence] = set()
        self._timer: asyncio.Handle | None = None

    @contextmanager
    def watching(self) -> Iterator[Silence]:
        """Count the silence of one stream while it is open."""
        silence = Silence(self._due_after)
        self._silences.add(silence)
        if not self._timer and self._due_after:
            self._schedule()
        try:
            yield silence
        finally:
            self._silences.discard(silence)
            if not self._silences and self._timer:
                self._timer.cancel()
                self._timer = None

    def _schedule(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._beat_seconds, self._beat)

    def _beat(self) -> None:
        self._schedule()
        for silence in self._silences:
            silence.beat()
