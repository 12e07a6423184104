"""Encodes native events as the frames of AG-UI 1.0 (docs.ag-ui.com/spec/1.0). Pure.

A frame is a server-sent event with its cursor as `id:`. Optional members are left out and never null, which clients
reject.
"""

from collections.abc import Iterable
from typing import Final, assert_never

import orjson

from shared.core import Cursor, Json, LogEvent, RunEvent, Snapshot, UnknownEvent
from shared.http.wires.agui import endings
from shared.http.wires.agui.endings import FinishedType, outcome, usage
from shared.http.wires.agui.messages import for_older_client, messages, summary_activity
from shared.runs import RunView

PROTOCOL_VERSION: Final = "1.0"

#: The cursor of a client that has no whole event yet: it gets a snapshot.
_NOWHERE: Final = Cursor(0, 0)

#: Kinds of items with frames of their own, and the frames that open and close them.
_OPENS = {
    "message": ("TEXT_MESSAGE_START",),
    "reasoning": ("REASONING_START", "REASONING_MESSAGE_START"),
    "tool_call": ("TOOL_CALL_START",),
}
_CLOSES = {
    "message": ("TEXT_MESSAGE_END",),
    "reasoning": ("REASONING_MESSAGE_END", "REASONING_END"),
    "tool_call": ("TOOL_CALL_END",),
}
_DELTAS = {
    "text": (b"TEXT_MESSAGE_CONTENT", b"messageId"),
    "reasoning": (b"REASONING_MESSAGE_CONTENT", b"messageId"),
    "arguments": (b"TOOL_CALL_ARGS", b"toolCallId"),
}
_DELTA: Final = b'id: %d.%d\ndata: {"type":"%b","%b":%b,"delta":%b}\n\n'


class Projection:
    """One client's stream of one run. Its only state is which items are open on the client.

    `for_older_client`: the client did not say that it speaks 1.0, so it gets no frame that the schema of older clients
    refuses.
    """

    def __init__(
        self, run: RunView, *, resumes: bool = False, for_older_client: bool = False
    ) -> None:
        self._run = run
        self._is_older_client = for_older_client
        self._open: dict[str, str] = {}
        self._has_written = False
        # A client that comes back with a cursor has seen the run start.
        self._resumes = self._has_started = resumes

    @property
    def can_restart(self) -> bool:
        """Whether a snapshot may come now: items that are open on the client must be known, to be closed first."""
        return not (self._resumes and self._has_written)

    def write(self, events: Iterable[LogEvent], *, skip: int = 0) -> bytes:
        """The frames of these events, without the first `skip` frames of the first event."""
        frames: list[bytes] = []
        for event in events:
            self._has_written = True
            if isinstance(event, UnknownEvent):
                # A newer version wrote it. To end the run here would tell the client something untrue.
                skip = 0
                continue
            if event.type == "run.started" and self._has_started:
                continue
            if event.ends_run and not self._has_started:
                frames.append(_sse(self._run_started()))
            frames += self._frames_of(event)[skip:]
            skip = 0
            self._has_started = self._has_started or event.type != "run.queued"
            if event.type != "item.delta":
                self._note(event)
        return b"".join(frames)

    def write_snapshot(self, snapshot: Snapshot) -> bytes:
        """The thread as it stands, in the order that re-attaching needs; open items continue with the next deltas."""
        frames = [] if self._has_written else [self._run_started()]
        self._has_written = self._has_started = True
        for item_id, kind in self._open.items():
            frames += [_boundary(name, item_id, {}) for name in _CLOSES[kind]]
        self._open = {}
        starts = [e for e in snapshot.open if e.type == "item.started" and e.data["kind"] in _OPENS]
        frames.append({"type": "MESSAGES_SNAPSHOT", "messages": self._messages(snapshot)})
        frames.append({"type": "STATE_SNAPSHOT", "snapshot": snapshot.state or {}})
        for event in starts:
            frames += self._frames(event)
            self._note(event)
        *head, last = frames
        cursor = Cursor(snapshot.attempt, snapshot.seq)
        # A client that is cut off in the middle gets the whole snapshot again.
        return b"".join([*(_sse(frame, _NOWHERE) for frame in head), _sse(last, cursor)])

    def _messages(self, snapshot: Snapshot) -> list[Json]:
        history = messages(snapshot)
        return [for_older_client(each) for each in history] if self._is_older_client else history

    def _frames_of(self, event: RunEvent) -> list[bytes]:
        if event.ends_run and self._is_older_client:
            # The only events that are not the same for all readers.
            [frame] = self._frames(event)
            return [_sse(endings.for_older_client(frame), Cursor(event.attempt, event.seq))]
        event.frames = event.frames or self._encode(event)
        encoded: list[bytes] = event.frames
        return encoded

    def _encode(self, event: RunEvent) -> list[bytes]:
        """The event's frames, the same for all readers.

        The last one has the event's own cursor: with it, the client has the whole event.
        """
        if event.type == "item.delta":
            return [_delta(event)] if event.data["channel"] in _DELTAS else []
        frames = self._frames(event)
        last = len(frames) - 1
        places = (
            Cursor(event.attempt, event.seq, None if n == last else n) for n in range(last + 1)
        )
        return [_sse(frame, place) for frame, place in zip(frames, places, strict=True)]

    def _note(self, event: RunEvent) -> None:
        match event.type:
            case "item.started" if event.item_id and event.data["kind"] in _OPENS:
                self._open[event.item_id] = event.data["kind"]
            case "item.completed" | "item.aborted" if event.item_id:
                self._open.pop(event.item_id, None)

    def _run_started(self) -> Json:
        parent = self._run.client_parent_run_id
        return {
            "type": "RUN_STARTED",
            "threadId": self._run.client_thread_id,
            "runId": self._run.client_run_id,
            "protocolVersion": PROTOCOL_VERSION,
            **({"parentRunId": parent} if parent else {}),
        }

    def _frames(self, event: RunEvent) -> list[Json]:
        data, item_id = event.data, event.item_id or ""
        match event.type:
            case "run.started":
                return [self._run_started()]
            case "item.started":
                return [_boundary(name, item_id, data) for name in _OPENS.get(data["kind"], ())]
            case "item.completed":
                return _completed(item_id, data)
            case "item.progress":
                return [_activity(item_id, data)]
            case "run.failed":
                failure = {"message": data["message"], "code": data["code"]}
                return [{"type": "RUN_ERROR", **failure, **usage(data.get("usage"))}]
            case "run.completed" | "run.interrupted" | "run.incomplete" | "run.cancelled" as ending:
                return [self._run_finished(ending, data)]
            case "item.delta":
                return []
            case "item.aborted" | "run.queued" | "turn.finished" | "interrupt.resolved":
                # A snapshot shows that an item was taken back; the others have no frame in AG-UI.
                return []
            case _:
                assert_never(event.type)

    def _run_finished(self, ending: FinishedType, data: Json) -> Json:
        ids = {"threadId": self._run.client_thread_id, "runId": self._run.client_run_id}
        usage_member = usage(data.get("usage"))
        return {"type": "RUN_FINISHED", **ids, **outcome(ending, data), **usage_member}


def leg_ended(cursor: Cursor) -> bytes:
    """The last frame of a leg: the run continues, and the client continues from this cursor."""
    frame = {"type": "CUSTOM", "name": "stream.leg_ended", "value": {"cursor": str(cursor)}}
    return _sse(frame)


def _delta(event: RunEvent) -> bytes:
    # Nearly all frames are deltas, so they are written by hand: 1 µs instead of 4.
    name, key = _DELTAS[event.data["channel"]]
    item_id, text = orjson.dumps(event.item_id), orjson.dumps(event.data["delta"])
    return _DELTA % (event.attempt, event.seq, name, key, item_id, text)


def _sse(frame: Json, cursor: Cursor | None = None) -> bytes:
    place = f"id: {cursor}\n".encode() if cursor else b""
    return b"%bdata: %b\n\n" % (place, orjson.dumps(frame))


def _boundary(name: str, item_id: str, data: Json) -> Json:
    """A frame that opens or closes an item."""
    if name == "TOOL_CALL_START":
        call = {"toolCallId": item_id, "toolCallName": data["name"]}
        return {"type": name, **call, "parentMessageId": data["message_id"]}
    if name == "TOOL_CALL_END":
        return {"type": name, "toolCallId": item_id}
    role = {"TEXT_MESSAGE_START": "assistant", "REASONING_MESSAGE_START": "reasoning"}.get(name)
    return {"type": name, "messageId": item_id, **({"role": role} if role else {})}


def _completed(item_id: str, data: Json) -> list[Json]:
    match data["kind"]:
        case "tool_result":
            return [_tool_result(item_id, data["item"])]
        case "summary":
            return [{"type": "ACTIVITY_SNAPSHOT", **summary_activity(item_id, data["item"])}]
    return [_boundary(name, item_id, {}) for name in _CLOSES.get(data["kind"], ())]


def _tool_result(item_id: str, item: Json) -> Json:
    result = {"messageId": item_id, "toolCallId": item["call_id"], "content": item["content"]}
    return {"type": "TOOL_CALL_RESULT", **result, "role": "tool"}


def _activity(item_id: str, data: Json) -> Json:
    """A call's progress, as a message of its own that each newer report replaces."""
    names = {"call_id": "toolCallId", "done": "done", "total": "total", "message": "message"}
    content = {wire: data[name] for name, wire in names.items() if name in data}
    shown = {"messageId": f"{item_id}-progress", "activityType": "tool_progress"}
    return {"type": "ACTIVITY_SNAPSHOT", **shown, "content": content, "replace": True}
