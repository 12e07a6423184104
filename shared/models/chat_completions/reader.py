"""The stream of a Chat Completion."""

from typing import Final

from shared.core import Json, Usage, clean
from shared.models.chat_completions.provider_fields import ProviderFields
from shared.models.events import (
    FinishReason,
    ModelEvent,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    TurnEnded,
)
from shared.models.stream import StreamReader, count, load, reported_error

#: What providers send besides means that the model has finished.
_REASONS: Final[dict[str, FinishReason]] = {
    "length": "length",
    "content_filter": "content_filter",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
}
#: A delta with these members only has nothing that its provider wants back: that is nearly every delta.
_PLAIN: Final = frozenset({"content", "role"})


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
        self._usage = Usage()

    def read_data(self, data: bytes, events: list[ModelEvent]) -> None:
        if data == b"[DONE]":
            self.is_over = True
            return
        chunk = load(data)
        if error := chunk.get("error"):
            raise reported_error(error)
        if counts := chunk.get("usage"):
            self._usage = _usage(counts, chunk.get("model"))
        for choice in chunk.get("choices") or ():
            if delta := choice.get("delta"):
                _add(delta, events)
                if not delta.keys() <= _PLAIN:
                    self._add_rare_members(delta, events)
                self._has_refused |= bool(delta.get("refusal"))
            if reason := choice.get("finish_reason"):
                self._reason = reason
                events += self._provider_fields.at_end()

    def _add_rare_members(self, delta: Json, events: list[ModelEvent]) -> None:
        events += self._provider_fields.of_delta(delta)
        for call in delta.get("tool_calls") or ():
            events += [self._call_delta(call), *self._provider_fields.of_call(call)]

    def _call_delta(self, call: Json) -> ToolCallDelta:
        function = call.get("function") or {}
        return ToolCallDelta(
            _index(call),
            clean(call.get("id") or "") or None,
            clean(function.get("name") or "") or None,
            clean(function.get("arguments") or ""),
            self._origin,
        )

    def ending(self) -> TurnEnded | None:
        if self._reason is None:
            return None
        finished: FinishReason = "refusal" if self._has_refused else "stop"
        return TurnEnded(_REASONS.get(str(self._reason), finished), self._usage)


def _add(delta: Json, events: list[ModelEvent]) -> None:
    # DeepSeek and vLLM spell this member differently.
    if thought := delta.get("reasoning_content") or delta.get("reasoning"):
        events.append(ReasoningDelta(clean(thought)))
    if text := delta.get("content"):
        events.append(TextDelta(clean(text if isinstance(text, str) else _text_of(text))))
    if text := delta.get("refusal"):
        events.append(TextDelta(clean(text)))


def _index(call: Json) -> int:
    index = call.get("index") or 0
    if not isinstance(index, int):
        raise TypeError(f"an index is a number, not {type(index)}")
    return index


def _text_of(content: list[Json]) -> str:
    """The text of a list of parts, as Mistral's reasoning models send it; its other parts are thoughts."""
    return "".join(entry.get("text", "") for entry in content if entry.get("type") == "text")


def _usage(counts: Json, model: str | None) -> Usage:
    return Usage(
        count(counts.get("prompt_tokens")),
        count(counts.get("completion_tokens")),
        count((counts.get("prompt_tokens_details") or {}).get("cached_tokens")),
        count((counts.get("completion_tokens_details") or {}).get("reasoning_tokens")),
        clean(model or "") or None,
    )
