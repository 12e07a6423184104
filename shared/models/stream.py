"""A model's stream as bytes: server-sent events come in, model events go out.

Pure and synchronous. The events of one read of the socket are one batch, so the code after it waits, wakes and writes
once per read and not once per token.
"""

import json
from abc import ABC, abstractmethod
from typing import Any

import orjson

from shared.core import Json, LineReader, LineTooLong
from shared.models.events import ContextOverflow, ModelEvent, ModelFailed, TurnEnded
from shared.models.overflow import says_overflow

#: More than any turn has; a day of such turns still fits into a `bigint`.
_MOST_TOKENS = 1 << 40
#: Bytes: more than any event, whose last one repeats the whole turn in some APIs.
_LONGEST_LINE = 64 * 1024 * 1024


class StreamReader(ABC):
    """Reads the server-sent events of one turn (WHATWG HTML §9.2; the data of these APIs is always one line).

    `event:` lines are not needed: an API that has types repeats them in the data. `is_over`: nothing that follows is
    read.
    """

    def __init__(self) -> None:
        self.is_over = False
        self._lines = LineReader(_LONGEST_LINE)
        self._failure: ModelFailed | None = None

    @abstractmethod
    def read_data(self, data: bytes, events: list[ModelEvent]) -> None:
        """Append what one server-sent event's data means.

        Raises:
            ModelFailed: the provider reports an error.
            AttributeError, TypeError: the data is JSON of another shape.
        """

    @abstractmethod
    def ending(self) -> TurnEnded | None:
        """The end of the turn, or None if the provider has not sent it."""

    def feed(self, data: bytes) -> list[ModelEvent]:
        """The events that these bytes complete. A failure is raised by `finish`, after what came before it."""
        events: list[ModelEvent] = []
        try:
            for line in self._lines.feed(data):
                if line.startswith(b"data:") and not self.is_over:
                    self.read_data(line[5:].strip(), events)
        except ModelFailed as error:
            self._failure, self.is_over = error, True
        except (AttributeError, TypeError, RecursionError, LineTooLong):
            self._failure, self.is_over = _garbage(), True
        return events

    def finish(self) -> list[ModelEvent]:
        """The last events, at the end of the stream: what had no line end yet, and the TurnEnded.

        Raises:
            ModelFailed: the provider reported an error, sent garbage, or broke off.
        """
        events = self.feed(b"\n")
        if self._failure:
            raise self._failure
        ending = self.ending()
        if ending is None:
            message = "The model broke off in the middle."
            raise ModelFailed("model_broke_off", message, retryable=True)
        return [*events, ending]


def load(data: bytes) -> Json:
    """A JSON object.

    Raises:
        ModelFailed: it is none.
    """
    try:
        loaded = orjson.loads(data)
    except orjson.JSONDecodeError:
        try:
            # Lone surrogates are an error to orjson; `clean` replaces them.
            loaded = json.loads(data)
        except (ValueError, RecursionError):
            loaded = None
    if not isinstance(loaded, dict):
        raise _garbage()
    return loaded


def count(value: object) -> int | None:
    """A number of tokens, where it is one that Postgres can also add to others."""
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if 0 <= value <= _MOST_TOKENS else None


def reported_error(error: Any = None) -> ModelFailed:
    """A provider's error in its own stream, without the provider's words."""
    if says_overflow(error):
        return ContextOverflow()
    return ModelFailed("model_failed", "The model reported an error.", retryable=True)


def _garbage() -> ModelFailed:
    return ModelFailed("model_broke_off", "The model sent garbage.", retryable=True)
