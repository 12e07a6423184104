"""OpenAI's Chat Completions as it is streamed: bytes come in, parts of one model turn go out.

Pure and synchronous. What one read of the socket brought is one batch of parts, so that all that waits, wakes and
writes behind it does so once per read and not once per token.
"""

import json
from dataclasses import dataclass
from typing import Literal, NamedTuple

import orjson

from shared.core import Json, Usage, clean

Channel = Literal["text", "reasoning"]


class Text(NamedTuple):
    """A piece of what the model says, or thinks."""

    channel: Channel
    text: str


class CallPart(NamedTuple):
    """A piece of a tool call: `place` tells calls of one turn apart, id and name come with the first piece."""

    place: int
    id: str | None
    name: str | None
    arguments: str


@dataclass(frozen=True, slots=True)
class Finish:
    """The end of a turn: why, and what it cost."""

    reason: str
    usage: Usage


Part = Text | CallPart | Finish


class ModelFailed(Exception):
    """The model did not answer, or not to the end. `retryable`: asking again may help."""

    def __init__(self, code: str, message: str, *, retryable: bool) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retryable = retryable


class Reader:
    """Reads the server-sent events of one turn (WHATWG HTML §9.2; the data of this API is always one line).

    `is_over`: what comes is not looked at any more.
    """

    def __init__(self) -> None:
        self.is_over = False
        self._rest = b""
        self._reason: str | None = None
        self._usage = Usage()
        self._failed: ModelFailed | None = None

    def feed(self, data: bytes) -> list[Part]:
        """The parts that these bytes complete; what breaks in the middle is told by `finish`."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        parts: list[Part] = []
        try:
            for line in lines:
                if line.startswith(b"data:") and not self.is_over:
                    self._take(line[5:].strip(), parts)
        except ModelFailed as failed:
            self._failed, self.is_over = failed, True
        except (AttributeError, TypeError):
            # JSON, and not in this API's shapes.
            self._failed, self.is_over = _garbage(), True
        return parts

    def finish(self) -> list[Part]:
        """The last parts, at the end of the stream: the turn's Finish, and before it what had no line end.

        Raises:
            ModelFailed: the model said so, sent garbage, or broke off in the middle.
        """
        parts = self.feed(b"\n")
        if self._failed:
            raise self._failed
        if self._reason is None:
            message = "The model broke off in the middle."
            raise ModelFailed("model_broke_off", message, retryable=True)
        return [*parts, Finish(self._reason, self._usage)]

    def _take(self, data: bytes, parts: list[Part]) -> None:
        if data == b"[DONE]":
            self.is_over = True
            return
        chunk = _load(data)
        if chunk.get("error"):
            raise ModelFailed("model_failed", "The model reported an error.", retryable=True)
        if counted := chunk.get("usage"):
            self._usage = _usage(counted, chunk.get("model"))
        for choice in chunk.get("choices") or ():
            if delta := choice.get("delta"):
                _add(delta, parts)
            self._reason = choice.get("finish_reason") or self._reason


def _add(delta: Json, parts: list[Part]) -> None:
    # Two spellings of one thing: DeepSeek's and vLLM's.
    if thought := delta.get("reasoning_content") or delta.get("reasoning"):
        parts.append(Text("reasoning", clean(thought)))
    if text := delta.get("content"):
        parts.append(Text("text", clean(text if isinstance(text, str) else _text_of(text))))
    for call in delta.get("tool_calls") or ():
        function = call.get("function") or {}
        parts.append(
            CallPart(
                call.get("index") or 0,
                clean(call.get("id") or "") or None,
                clean(function.get("name") or "") or None,
                clean(function.get("arguments") or ""),
            )
        )


def _text_of(content: list[Json]) -> str:
    """Mistral's spelling of what its reasoning models say: a list, whose other entries are thoughts."""
    return "".join(entry.get("text", "") for entry in content if entry.get("type") == "text")


def _load(data: bytes) -> Json:
    try:
        loaded = orjson.loads(data)
    except orjson.JSONDecodeError:
        try:
            # Lone surrogates are an error to orjson; `clean` replaces them.
            loaded = json.loads(data)
        except ValueError:
            loaded = None
    if not isinstance(loaded, dict):
        raise _garbage()
    return loaded


def _garbage() -> ModelFailed:
    return ModelFailed("model_broke_off", "The model sent garbage.", retryable=True)


def _usage(counted: Json, model: str | None) -> Usage:
    return Usage(
        _count(counted.get("prompt_tokens")),
        _count(counted.get("completion_tokens")),
        _count((counted.get("prompt_tokens_details") or {}).get("cached_tokens")),
        _count((counted.get("completion_tokens_details") or {}).get("reasoning_tokens")),
        clean(model or "") or None,
    )


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and value >= 0 else None
