"""One model turn, as it is written: parts of a stream become native events."""

from collections.abc import Container
from dataclasses import dataclass, field
from uuid import uuid4

from shared.core import Draft, Item, Json, Kind, Usage
from shared.models import CallPart, Finish, Part, Text


@dataclass(slots=True)
class Call:
    """A tool call of the turn. `id` is ours and on the wire; the provider's is only echoed to it."""

    id: str
    provider_id: str | None
    name: str
    executor: str
    arguments: list[str] = field(default_factory=list)


class Turn:
    """What one asking of the model gave: at most one message, one piece of reasoning at a time, any number of calls.

    `message_id` names the assistant's message on the wire, also where the turn holds nothing but calls.
    """

    def __init__(self, client_tools: Container[str]) -> None:
        self.message_id = str(uuid4())
        self.reason = ""
        self.usage = Usage()
        self.items: list[Item] = []
        self._client_tools = client_tools
        self._calls: dict[int, Call] = {}
        self._started: list[Call] = []
        self._text: list[str] = []
        self._thoughts: list[str] = []
        self._reasoning_id: str | None = None

    @property
    def calls(self) -> list[Call]:
        return self._started

    def take(self, part: Part) -> list[Draft]:
        """The events this part makes; they have no consequence yet."""
        match part:
            case Text("text", text):
                return self._say(text)
            case Text(_, text):
                return self._think(text)
            case CallPart():
                return self._call(part)
            case Finish(reason, usage):
                self.reason, self.usage = reason, usage
        return []

    def close(self) -> list[Draft]:
        """The end of the turn: what is open is complete. `items` holds what the thread gains."""
        drafts = self._end_reasoning()
        if self._text:
            said: Json = {"role": "assistant", "content": "".join(self._text)}
            drafts.append(self._complete(self.message_id, "message", said))
        for call in self._started:
            if not any(call.arguments):
                # Clients parse what the deltas add up to.
                call.arguments.append("{}")
                written = {"channel": "arguments", "delta": "{}"}
                drafts.append(Draft("item.delta", call.id, written))
            drafts.append(self._complete(call.id, "tool_call", self._call_item(call)))
        return drafts

    def take_back(self, reason: str) -> list[Draft]:
        """The turn is void: each of its items is taken back, complete or not."""
        begun = [item.key for item in self.items] + [call.id for call in self._started]
        begun += [self.message_id] if self._text else []
        begun += [self._reasoning_id] if self._reasoning_id else []
        return [Draft("item.aborted", item_id, {"reason": reason}) for item_id in begun]

    def _say(self, text: str) -> list[Draft]:
        drafts = self._end_reasoning()
        if not self._text:
            drafts.append(Draft("item.started", self.message_id, {"kind": "message"}))
        self._text.append(text)
        drafts.append(Draft("item.delta", self.message_id, {"channel": "text", "delta": text}))
        return drafts

    def _think(self, text: str) -> list[Draft]:
        drafts = []
        if self._reasoning_id is None:
            self._reasoning_id = str(uuid4())
            started = {"kind": "reasoning", "message_id": self.message_id}
            drafts.append(Draft("item.started", self._reasoning_id, started))
        self._thoughts.append(text)
        thought = {"channel": "reasoning", "delta": text}
        return [*drafts, Draft("item.delta", self._reasoning_id, thought)]

    def _end_reasoning(self) -> list[Draft]:
        if self._reasoning_id is None:
            return []
        item = {"text": "".join(self._thoughts), "message_id": self.message_id}
        draft = self._complete(self._reasoning_id, "reasoning", item)
        self._reasoning_id, self._thoughts = None, []
        return [draft]

    def _call(self, part: CallPart) -> list[Draft]:
        drafts = self._end_reasoning()
        call = self._calls.get(part.place)
        # Some providers count every call as number 0 and tell them apart by id alone.
        if call is None or (part.id and call.provider_id and part.id != call.provider_id):
            call = self._calls[part.place] = Call(str(uuid4()), part.id, "", "")
        call.provider_id = call.provider_id or part.id
        call.arguments.append(part.arguments)
        news = part.arguments
        if part.name and not call.name:
            drafts.append(self._start(call, part.name))
            # What came before the name is only now somebody's.
            news = "".join(call.arguments)
        if call.name and news:
            written = {"channel": "arguments", "delta": news}
            drafts.append(Draft("item.delta", call.id, written))
        return drafts

    def _start(self, call: Call, name: str) -> Draft:
        call.name = name
        call.executor = "client" if name in self._client_tools else "server"
        self._started.append(call)
        started = {"kind": "tool_call", "name": name, "message_id": self.message_id}
        return Draft("item.started", call.id, started)

    def _call_item(self, call: Call) -> Json:
        return {
            "name": call.name,
            "arguments": "".join(call.arguments),
            "message_id": self.message_id,
            "executor": call.executor,
            **({"provider_id": call.provider_id} if call.provider_id else {}),
        }

    def _complete(self, item_id: str, kind: Kind, item: Json) -> Draft:
        self.items.append(Item(item_id, kind, item))
        return Draft("item.completed", item_id, {"kind": kind, "item": item})
