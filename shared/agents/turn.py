"""One model turn as native events: what a model's stream means for the log."""

from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from shared.core import Draft, Item, Json, Kind, Usage
from shared.models import (
    FinishReason,
    ModelEvent,
    ProviderData,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    TurnEnded,
)


@dataclass(slots=True)
class Call:
    """A tool call of the turn. Clients see our `id`. `provider_id` is only sent back to the provider, at `origin`."""

    id: str
    provider_id: str | None
    name: str
    executor: str
    arguments: list[str] = field(default_factory=list)
    provider_data: list[ProviderData] = field(default_factory=list)
    origin: Json | None = None


class TurnRecorder:
    """The items of one turn: at most one message, one piece of reasoning at a time, any number of calls.

    `message_id` is the id of the assistant's message, also for a turn that has only calls. `items` has all of the
    turn's items when `close` has returned.
    """

    def __init__(self, client_tools: Container[str]) -> None:
        self.message_id = str(uuid4())
        self.finish_reason: FinishReason = "stop"
        self.usage = Usage()
        self.items: list[Item] = []
        self._client_tools = client_tools
        self._calls: dict[int, Call] = {}
        self._started: list[Call] = []
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._reasoning_id: str | None = None
        self._last_call: Call | None = None
        #: What the provider wants back: with the message, with what comes next, and with the turn.
        self._message_data: list[ProviderData] = []
        self._next_data: list[ProviderData] = []
        self._turn_data: list[ProviderData] = []

    @property
    def calls(self) -> list[Call]:
        return self._started

    def record(self, event: ModelEvent) -> list[Draft]:
        """The native events for one event of the model's stream. They have no consequence yet."""
        match event:
            case TextDelta():
                return self._add_text(event.text)
            case ReasoningDelta():
                return self._add_reasoning(event.text)
            case ToolCallDelta():
                return self._add_call(event)
            case ProviderData():
                self._keep(event)
            case TurnEnded():
                self.finish_reason, self.usage = event.reason, event.usage
        return []

    @property
    def has_started(self) -> bool:
        """Whether the model has sent anything."""
        return bool(self._text or self._reasoning or self._calls or self.items)

    @property
    def text(self) -> str:
        """The text of the turn's message so far."""
        return "".join(self._text)

    @property
    def written(self) -> list[str]:
        """All that the model has written."""
        thoughts = [str(i.data["text"]) for i in self.items if i.kind == "reasoning"]
        arguments = [piece for call in self._started for piece in (call.name, *call.arguments)]
        return [*thoughts, *self._reasoning, *self._text, *arguments]

    def close(self, **more: Any) -> list[Draft]:
        """Complete the open items, at the end of the turn. `more`: further members of the message's data."""
        drafts = self._end_reasoning()
        if self._text:
            message: Json = {"role": "assistant", "content": self.text, **more}
            message |= _provider_member(self._message_data + self._turn_data)
            drafts.append(self._complete(self.message_id, "message", message))
        elif self._started:
            self._started[0].provider_data += self._turn_data
        for call in self._started:
            if not any(call.arguments):
                # Clients parse the text that all deltas make together.
                call.arguments.append("{}")
                written = {"channel": "arguments", "delta": "{}"}
                drafts.append(Draft("item.delta", call.id, written))
            drafts.append(self._complete(call.id, "tool_call", self._call_item(call)))
        return drafts

    def take_back(self, reason: str) -> list[Draft]:
        """The events that take back every item of the turn, complete or not."""
        started = [item.key for item in self.items] + [call.id for call in self._started]
        started += [self.message_id] if self._text else []
        started += [self._reasoning_id] if self._reasoning_id else []
        return [Draft("item.aborted", item_id, {"reason": reason}) for item_id in started]

    def _keep(self, data: ProviderData) -> None:
        match data.belongs_to:
            case "message":
                self._message_data.append(data)
            case "turn":
                self._turn_data.append(data)
            case "call" if self._last_call:
                self._last_call.provider_data.append(data)
            case _:
                self._next_data.append(data)

    def _add_text(self, text: str) -> list[Draft]:
        drafts = self._end_reasoning()
        if not self._text:
            self._message_data = [*self._message_data, *self._take_next_data()]
            drafts.append(Draft("item.started", self.message_id, {"kind": "message"}))
        self._text.append(text)
        drafts.append(Draft("item.delta", self.message_id, {"channel": "text", "delta": text}))
        return drafts

    def _add_reasoning(self, text: str) -> list[Draft]:
        drafts = []
        if self._reasoning_id is None:
            self._reasoning_id = str(uuid4())
            started = {"kind": "reasoning", "message_id": self.message_id}
            drafts.append(Draft("item.started", self._reasoning_id, started))
        self._reasoning.append(text)
        delta = {"channel": "reasoning", "delta": text}
        return [*drafts, Draft("item.delta", self._reasoning_id, delta)]

    def _end_reasoning(self) -> list[Draft]:
        if self._reasoning_id is None:
            return []
        item = {"text": "".join(self._reasoning), "message_id": self.message_id}
        draft = self._complete(self._reasoning_id, "reasoning", item)
        self._reasoning_id, self._reasoning = None, []
        return [draft]

    def _add_call(self, delta: ToolCallDelta) -> list[Draft]:
        drafts = self._end_reasoning()
        call = self._calls.get(delta.index)
        if call is None:
            call = self._calls[delta.index] = Call(str(uuid4()), delta.id, "", "")
            call.provider_data = self._take_next_data()
        self._last_call = call
        if delta.id and not call.provider_id:
            call.provider_id = delta.id
        call.origin = call.origin or delta.origin
        call.arguments.append(delta.arguments)
        written = delta.arguments
        if delta.name and not call.name:
            drafts.append(self._start(call, delta.name))
            # The arguments that came before the name were kept, because the call had not started.
            written = "".join(call.arguments)
        if call.name and written:
            drafts.append(Draft("item.delta", call.id, {"channel": "arguments", "delta": written}))
        return drafts

    def _start(self, call: Call, name: str) -> Draft:
        call.name = name
        call.executor = "client" if name in self._client_tools else "server"
        self._started.append(call)
        started = {"kind": "tool_call", "name": name, "message_id": self.message_id}
        return Draft("item.started", call.id, started)

    def _take_next_data(self) -> list[ProviderData]:
        data, self._next_data = self._next_data, []
        return data

    def _call_item(self, call: Call) -> Json:
        return {
            "name": call.name,
            "arguments": "".join(call.arguments),
            "message_id": self.message_id,
            "executor": call.executor,
            **({"provider_id": call.provider_id} if call.provider_id else {}),
            **_provider_member(call.provider_data, call.origin),
        }

    def _complete(self, item_id: str, kind: Kind, item: Json) -> Draft:
        self.items.append(Item(item_id, kind, item))
        return Draft("item.completed", item_id, {"kind": kind, "item": item})


def _provider_member(data: Sequence[ProviderData], origin: Json | None = None) -> Json:
    """The member `provider` {api, base_url?, items?} of an item. All data of a turn has one origin."""
    if data:
        return {"provider": {**data[0].origin, "items": [each.item for each in data]}}
    return {"provider": origin} if origin else {}
