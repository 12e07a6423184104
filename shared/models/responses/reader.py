"""The stream of a Response."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from shared.core import Json, Usage, clean, clean_json
from shared.models.events import (
    FinishReason,
    ModelEvent,
    ProviderData,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    TurnEnded,
)
from shared.models.faults import reported_error
from shared.models.shapes import arguments_in, count, members, text_in
from shared.models.stream import StreamReader, load

#: The members of an event that is an error itself.
_ERROR_MEMBERS: Final = ("code", "message", "param")
#: The members of a reasoning item that are sent back. The API rejects a reasoning item with `content`.
_REASONING_MEMBERS: Final = ("type", "id", "summary", "encrypted_content")


class ResponsesReader(StreamReader):
    """Reads the events of one Response, and ignores events of unknown types.

    `origin` {api, base_url?} is where the Response comes from.
    """

    def __init__(self, origin: Json) -> None:
        super().__init__()
        self._origin = origin
        #: The output item whose text arrived last.
        self._text_index: object = None
        #: Whether the last delta was of reasoning.
        self._is_reasoning = False
        #: Indexes in the output: of calls that have started, and of calls with some arguments.
        self._started_calls: set[int] = set()
        self._calls_with_arguments: set[int] = set()
        #: Numbers of output items of servers that give them no index, by id.
        self._numbers: dict[object, int] = {}
        self._has_refused = False
        self._ending: TurnEnded | None = None

    def read_data(self, data: bytes, events: list[ModelEvent]) -> None:
        if data == b"[DONE]":
            self.end()
            return
        event = load(data)
        type_ = event.get("type")
        if type_ == "response.output_text.delta":
            # For each token, so without the search for its handler.
            self._add_text(event, events)
        elif handle := _HANDLERS.get(str(type_)):
            handle(self, event, events)
        elif type_ is None and event.get("error"):
            raise reported_error(event["error"])

    def read_whole(self, data: bytes, events: list[ModelEvent]) -> None:
        response = load(data)
        if response.get("error") or response.get("status") == "failed":
            raise reported_error(response.get("error"))
        self._end({"type": f"response.{response.get('status')}", "response": response}, events)

    def ending(self) -> TurnEnded | None:
        if self._ending is None and self.is_over and self.has_output:
            return TurnEnded(self._finished(), Usage())
        return self._ending

    def _finished(self) -> FinishReason:
        finished: FinishReason = "refusal" if self._has_refused else "stop"
        return "tool_calls" if self._started_calls else finished

    def _add_text(self, event: Json, events: list[ModelEvent]) -> None:
        if not (text := event.get("delta")):
            return
        index = event.get("output_index")
        if index != self._text_index:
            if self._text_index is not None:
                # A second message of the response: a turn has one, so that they become paragraphs.
                events.append(TextDelta("\n\n"))
            self._text_index = index
        self._is_reasoning = False
        events.append(TextDelta(clean(text)))

    def _add_refusal(self, event: Json, events: list[ModelEvent]) -> None:
        self._has_refused = True
        self._add_text(event, events)

    def _end_refusal(self, event: Json, events: list[ModelEvent]) -> None:
        if not self._has_refused:
            # Some servers send all of it at once, and no deltas.
            self._add_refusal({**event, "delta": event.get("refusal")}, events)

    def _add_reasoning(self, event: Json, events: list[ModelEvent]) -> None:
        if text := text_in(event.get("delta")):
            self._is_reasoning = True
            events.append(ReasoningDelta(clean(text)))

    def _begin_summary_part(self, _: Json, events: list[ModelEvent]) -> None:
        if self._is_reasoning:
            events.append(ReasoningDelta("\n\n"))

    def _add_arguments(self, event: Json, events: list[ModelEvent]) -> None:
        self._append_arguments(self._index(event), event.get("delta"), events)

    def _begin_item(self, event: Json, events: list[ModelEvent]) -> None:
        item = event.get("item") or {}
        if item.get("type") == "function_call":
            self._start_call(self._index(event), item, events)

    def _end_item(self, event: Json, events: list[ModelEvent]) -> None:
        item = event.get("item") or {}
        match item.get("type"):
            case "function_call":
                index = self._index(event)
                self._start_call(index, item, events)
                if index not in self._calls_with_arguments:
                    # Some servers send all arguments at once, and no deltas.
                    self._append_arguments(index, item.get("arguments"), events)
            case "reasoning" if item.get("encrypted_content"):
                kept = {name: item[name] for name in _REASONING_MEMBERS if name in item}
                events.append(ProviderData(self._origin, clean_json(kept)))
            case "message" if phase := item.get("phase"):
                description = {"type": "message", "phase": clean(phase)}
                events.append(ProviderData(self._origin, description, "message"))

    def _start_call(self, index: int, item: Json, events: list[ModelEvent]) -> None:
        if index in self._started_calls:
            return
        self._started_calls.add(index)
        self._is_reasoning = False
        call_id, name = clean(item.get("call_id") or ""), clean(item.get("name") or "")
        events.append(ToolCallDelta(index, call_id or None, name or None, "", self._origin))

    def _append_arguments(self, index: int, value: object, events: list[ModelEvent]) -> None:
        if text := arguments_in(value):
            self._calls_with_arguments.add(index)
            events.append(ToolCallDelta(index, None, None, text))

    def _index(self, event: Json) -> int:
        index = event.get("output_index")
        if isinstance(index, int):
            return index
        item = event.get("item_id") or members(event.get("item")).get("id")
        return self._numbers.setdefault(item, len(self._numbers))

    def _end(self, event: Json, events: list[ModelEvent]) -> None:
        self.end()
        response = members(event.get("response"))
        if not (events or self.has_output):
            # Some servers send all of the output at once, and no events before.
            self._add_output(response.get("output") or (), events)
        usage = _usage(members(response.get("usage")), response.get("model"))
        reason = self._finished()
        if event["type"] == "response.incomplete":
            details = response.get("incomplete_details") or {}
            # Any other reason is a limit as well.
            is_filtered = details.get("reason") == "content_filter"
            reason = "content_filter" if is_filtered else "length"
        self._ending = TurnEnded(reason, usage)

    def _add_output(self, output: Sequence[Json], events: list[ModelEvent]) -> None:
        for index, item in enumerate(output):
            place = {"output_index": index}
            if item.get("type") == "reasoning":
                self._add_reasoning({"delta": item.get("summary")}, events)
            for part in item.get("content") or () if item.get("type") == "message" else ():
                is_refusal = part.get("type") == "refusal"
                self._has_refused |= is_refusal
                text = part.get("refusal" if is_refusal else "text")
                self._add_text({**place, "delta": text}, events)
            self._end_item({**place, "item": item}, events)

    def _report(self, event: Json, _: list[ModelEvent]) -> None:
        error = members(event.get("response")).get("error") or event.get("error")
        # The event may be the error itself. Not all of it: a failed response repeats the instructions.
        raise reported_error(error or {name: event.get(name) for name in _ERROR_MEMBERS})


_HANDLERS: Final[Mapping[str, Callable[[ResponsesReader, Json, list[ModelEvent]], None]]] = {
    "response.refusal.delta": ResponsesReader._add_refusal,
    "response.refusal.done": ResponsesReader._end_refusal,
    "response.reasoning_summary_part.added": ResponsesReader._begin_summary_part,
    "response.reasoning_summary_text.delta": ResponsesReader._add_reasoning,
    "response.reasoning_text.delta": ResponsesReader._add_reasoning,
    # Open Responses' name of the one before.
    "response.reasoning.delta": ResponsesReader._add_reasoning,
    "response.function_call_arguments.delta": ResponsesReader._add_arguments,
    "response.output_item.added": ResponsesReader._begin_item,
    "response.output_item.done": ResponsesReader._end_item,
    "response.completed": ResponsesReader._end,
    "response.incomplete": ResponsesReader._end,
    "response.failed": ResponsesReader._report,
    "error": ResponsesReader._report,
}


def _usage(counts: Json, model: object) -> Usage:
    return Usage(
        count(counts.get("input_tokens")),
        count(counts.get("output_tokens")),
        count(members(counts.get("input_tokens_details")).get("cached_tokens")),
        count(members(counts.get("output_tokens_details")).get("reasoning_tokens")),
        clean(model) if isinstance(model, str) and model else None,
    )
