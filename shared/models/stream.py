"""A model's stream as bytes: server-sent events come in, model events go out.

Pure and synchronous. The events of one read of the socket are one batch, so the code after it waits, wakes and writes
once per read and not once per token.
"""

import json
from abc import ABC, abstractmethod
from typing import Any

import orjson

from shared.core import Json, LineReader, LineTooLong
from shared.models.events import ModelEvent, ModelFailed, TurnEnded
from shared.models.faults import reported_error

#: Bytes: more than any event, whose last one repeats the whole turn in some APIs.
_LONGEST_LINE = 64 * 1024 * 1024


class Unreadable(ValueError):
    """The data is no JSON object."""


class StreamReader(ABC):
    """Reads the server-sent events of one turn (WHATWG HTML §9.2).

    These APIs write an event's data as one line, and repeat its type there. So a line of data is read when it arrives,
    without waiting for the end of its event. What is not of this form is read event by event.

    `has_ended`: the turn is complete; only counts may follow. `is_over`: nothing that follows is read.
    """

    def __init__(self) -> None:
        self.has_ended = self.is_over = False
        #: Whether any event of the model has come.
        self.has_output = False
        self._lines = LineReader(_LONGEST_LINE)
        self._failure: ModelFailed | None = None
        #: Whether the next line of data is read as it arrives.
        self._is_plain = True
        #: Of an event that is not: whether it is named `error`, and its data.
        self._is_error = False
        self._held: list[bytes] = []

    @abstractmethod
    def read_data(self, data: bytes, events: list[ModelEvent]) -> None:
        """Append what one server-sent event's data means.

        Raises:
            Unreadable: the data is no JSON object.
            ModelFailed: the provider reports an error.
            AttributeError, TypeError: the data is JSON of another shape.
        """

    def read_whole(self, data: bytes, events: list[ModelEvent]) -> None:
        """Append what a response means that is one JSON object instead of a stream. Raises what `read_data` does."""
        self.read_data(data, events)
        self.end()

    @abstractmethod
    def ending(self) -> TurnEnded | None:
        """The end of the turn, or None if the provider has not sent it."""

    def end(self) -> None:
        """Read nothing more."""
        self.has_ended = self.is_over = True
        self._is_plain = False

    def feed(
        self, data: bytes
    ) -> list[ModelEvent]:  # a call would cost each token more than its branches
        """The events that these bytes complete. A failure is raised by `finish`, after what came before it."""
        events: list[ModelEvent] = []
        try:
            for line in self._lines.feed(data):
                if line.startswith(b"data:") and self._is_plain:
                    try:
                        self.read_data(line[5:].strip(), events)
                    except Unreadable:
                        self._read_field(line)
                elif not line:
                    if not self._is_plain:
                        self._end_event(events)
                elif not self._is_plain or line.endswith(b"error"):
                    self._read_field(line)
        except (ModelFailed, AttributeError, TypeError, RecursionError, LineTooLong) as error:
            self._fail(error)
        if events:
            self.has_output = True
        return events

    def feed_whole(self, data: bytes) -> list[ModelEvent]:
        """The events of a response that is one JSON object. A failure is raised by `finish`."""
        events: list[ModelEvent] = []
        try:
            self.read_whole(data, events)
        except (ModelFailed, Unreadable, AttributeError, TypeError, RecursionError) as error:
            self._fail(error)
        self.has_output = bool(events)
        return events

    def finish(self) -> list[ModelEvent]:
        """The last events, at the end of the stream: what had no line end yet, and the TurnEnded.

        Raises:
            ModelFailed: the provider reported an error, sent garbage, or broke off.
        """
        events = self.feed(b"\n\n")
        if self._failure:
            raise self._failure
        ending = self.ending()
        if ending is None:
            message = "The model broke off in the middle."
            raise ModelFailed("model_broke_off", message, retryable=True)
        return [*events, ending]

    def _fail(self, error: Exception) -> None:
        self._failure = error if isinstance(error, ModelFailed) else _garbage()
        self.end()

    def _read_field(self, line: bytes) -> None:
        """Read a line of an event that is not plain, or begins to be none. Comments and other fields mean nothing."""
        if self.is_over:
            return
        if line.startswith(b"event:"):
            self._is_error = line[6:].strip() == b"error"
            self._is_plain = self._is_plain and not self._is_error
        elif line.startswith(b"data:"):
            self._is_plain = False
            self._held.append(line[5:].removeprefix(b" "))
            if len(self._held) % 1000 == 0 and sum(map(len, self._held)) > _LONGEST_LINE:
                raise LineTooLong

    def _end_event(self, events: list[ModelEvent]) -> None:
        if self.is_over:
            return
        is_error, data = self._is_error, b"\n".join(self._held).strip()
        self._is_plain, self._is_error, self._held = True, False, []
        if is_error and data:
            raise reported_error(_any_json(data))
        try:
            self.read_data(data, events)
        except Unreadable:
            # An event of another kind, such as a ping, may have any data; an object is the model's.
            if data.startswith(b"{"):
                raise _garbage() from None


def load(data: bytes) -> Json:
    """A JSON object.

    Raises:
        Unreadable: it is none.
    """
    try:
        loaded = orjson.loads(data)
    except orjson.JSONDecodeError:
        # Lone surrogates are an error to orjson; `clean` replaces them.
        loaded = _any_json(data)
    if not isinstance(loaded, dict):
        raise Unreadable
    return loaded


def _any_json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _garbage() -> ModelFailed:
    return ModelFailed("model_broke_off", "The model sent garbage.", retryable=True)
