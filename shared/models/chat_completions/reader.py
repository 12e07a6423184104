"""The stream of a Chat Completion."""

from typing import Any, Final

from shared.core import Json, Usage, clean
from shared.models.chat_completions.provider_fields import ProviderFields
from shared.models.events import FinishReason, ModelEvent, ReasoningDelta, TextDelta, TurnEnded
from shared.models.faults import reported_error
from shared.models.pieces import CallPieces
from shared.models.shapes import count, members, text_in
from shared.models.stream import StreamReader, load

#: What providers send besides means that the model has finished.
_REASONS: Final[dict[str, FinishReason]] = {
    "length": "length",
    "max_tokens": "length",
    "max_output_tokens": "length",
    "model_length": "length",
    "content_filter": "content_filter",
    "safety": "content_filter",
    "recitation": "content_filter",
    "refusal": "refusal",
    "tool_calls": "tool_calls",
    "tool_use": "tool_calls",
    "function_call": "tool_calls",
}
#: These mean that it has not: the server stopped, or the model wrote what the server cannot read.
_FAILURES: Final = frozenset(
    {
        *("error", "abort", "aborted", "cancelled", "failed", "timeout"),
        *("insufficient_system_resource", "malformed_function_call"),
    }
)
#: A delta with these members only has nothing that its provider wants back: that is nearly every delta.
_PLAIN: Final = frozenset({"content", "role"})
#: Some servers write these for "not yet".
_NONE: Final = frozenset({"", "null", "none"})


class ChatCompletionsReader(StreamReader):
    """Reads the chunks of one Chat Completion, in the spellings of several providers.

    `origin` {api, base_url?} is where it comes from.
    """

    def __init__(self, origin: Json) -> None:
        super().__init__()
        self._origin = origin
        self._provider_fields = ProviderFields(origin)
        self._reason: str | None = None
        self._has_refused = False
        self._calls: CallPieces | None = None
        self._usage = Usage()

    def read_data(self, data: bytes, events: list[ModelEvent]) -> None:
        if data == b"[DONE]":
            self.end()
            return
        chunk = load(data)
        if error := chunk.get("error"):
            raise reported_error(error)
        if counts := chunk.get("usage"):
            self._usage = _usage(members(counts), chunk.get("model"))
        for choice in chunk.get("choices") or ():
            # A response that is no stream has a message instead.
            if delta := choice.get("delta") or choice.get("message"):
                self._add(delta, events)
            if reason := choice.get("finish_reason"):
                self._end_with(reason, choice)
                events += self._provider_fields.at_end()

    def ending(self) -> TurnEnded | None:
        if self._reason is None and not (self.is_over and self.has_output):
            return None
        finished: FinishReason = "refusal" if self._has_refused else "stop"
        reason: FinishReason = "tool_calls" if self._calls else finished
        return TurnEnded(_REASONS.get(self._reason or "", reason), self._usage)

    def _end_with(self, reason: Any, choice: Json) -> None:
        word = _word_of(reason)
        if word in _NONE:
            return
        if word in _FAILURES:
            raise reported_error(choice.get("error") or {"code": word})
        self._reason, self.has_ended = word, True

    def _add(self, delta: Json, events: list[ModelEvent]) -> None:
        text = delta.get("content")
        if len(delta) == 1 and text and isinstance(text, str):
            events.append(TextDelta(clean(text)))
            return
        if delta.keys() <= _PLAIN and isinstance(text, str | None):
            if text:
                events.append(TextDelta(clean(text)))
            return
        if thought := _thought(delta):
            events.append(ReasoningDelta(clean(thought)))
        if text:
            events.append(TextDelta(clean(text if isinstance(text, str) else _text_of(text))))
        if refusal := delta.get("refusal"):
            self._has_refused = True
            events.append(TextDelta(clean(text_in(refusal))))
        events += self._provider_fields.of_delta(delta)
        if pieces := _pieces(delta):
            self._calls = self._calls or CallPieces(self._origin)
            for piece, part in zip(pieces, self._calls.read(pieces), strict=True):
                events += [part, *self._provider_fields.of_call(piece)]


def _word_of(reason: Any) -> str:
    """A finish reason as a word in lower case. Some servers send an object with a `type`."""
    word = reason.get("type") if isinstance(reason, dict) else reason
    return str(word or "").lower()


def _thought(delta: Json) -> str:
    # DeepSeek, vLLM and OpenRouter spell this member differently; the last one sends two of them.
    for name in ("reasoning_content", "reasoning", "reasoning_details"):
        if (value := delta.get(name)) and (text := text_in(value)):
            return text
    return ""


def _pieces(delta: Json) -> list[Json]:
    if pieces := delta.get("tool_calls"):
        return [pieces] if isinstance(pieces, dict) else pieces
    # The API's first form had one call, without an id.
    function = delta.get("function_call")
    return [{"function": function}] if function else []


def _text_of(content: list[Json]) -> str:
    """The text of a list of parts, as Mistral's reasoning models send it; its other parts are thoughts."""
    return "".join(entry.get("text", "") for entry in content if entry.get("type") == "text")


def _usage(counts: Json, model: Any) -> Usage:
    prompt, completion = (
        members(counts.get(f"{kind}_tokens_details")) for kind in ("prompt", "completion")
    )
    return Usage(
        count(counts.get("prompt_tokens")),
        count(counts.get("completion_tokens")),
        count(prompt.get("cached_tokens")),
        count(completion.get("reasoning_tokens")),
        clean(model) if isinstance(model, str) and model else None,
    )
