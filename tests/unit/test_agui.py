"""The projection keeps AG-UI's order (spec 1.0, as the client verifies it) from any cursor at which a reader starts."""

import json
from dataclasses import dataclass, field

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.core.events import EventType, RunEvent, Snapshot, decode
from shared.core.items import Item
from shared.core.json import Json
from shared.http.wires.agui.projection import Projection
from shared.runs.results import RunView

RUN = RunView(
    *("id", "run-1", "thread-1", None, "assistant", "in_progress", 1, 0),
    is_held=True,
    is_pruned=False,
    ending=None,
)
KINDS = {"message": "text", "reasoning": "reasoning", "tool_call": "arguments"}


@dataclass
class Verifier:
    """The order rules of AG-UI 1.0, as its client checks them, and the text it holds at the end."""

    has_started: bool = False
    has_ended: bool = False
    open: set[tuple[str, str]] = field(default_factory=set)
    texts: dict[str, str] = field(default_factory=dict)

    def read(self, frames: list[Json]) -> None:
        for frame in frames:
            assert not self.has_ended, frame
            assert self.has_started or frame["type"] == "RUN_STARTED", frame
            self._take(frame)

    def _take(self, frame: Json) -> None:
        type_, id_ = frame["type"], frame.get("messageId") or frame.get("toolCallId") or ""
        name = type_.rpartition("_")[0]
        if type_ == "RUN_STARTED":
            assert not self.has_started
            self.has_started = True
        elif type_ in ("RUN_FINISHED", "RUN_ERROR"):
            assert type_ == "RUN_ERROR" or not self.open, self.open
            self.has_ended = True
        elif type_ == "MESSAGES_SNAPSHOT":
            self.texts = {m["id"]: m.get("content", "") for m in frame["messages"]}
        elif type_.endswith("_START"):
            assert (name, id_) not in self.open, frame
            self.open.add((name, id_))
            self.texts.setdefault(id_, "")
        elif type_.endswith("_END"):
            self.open.remove((name, id_))
        elif "delta" in frame:
            assert (name.removesuffix("_ARGS"), id_) in self.open, frame
            self.texts[id_] += frame["delta"]


def frames(written: bytes) -> list[Json]:
    return [json.loads(line[6:]) for line in written.splitlines() if line.startswith(b"data: ")]


@st.composite
def logs(draw: st.DrawFn) -> list[RunEvent]:
    """The log of one run: items that overlap, some aborted, and one ending."""
    made: list[tuple[EventType, str | None, Json]] = [("run.started", None, {})]
    open_items: dict[str, str] = {}
    for n in range(draw(st.integers(0, 25))):
        action = draw(st.sampled_from(["start", "delta", "delta", "complete", "abort"]))
        if action == "start" or not open_items:
            kind = draw(st.sampled_from(sorted(KINDS)))
            open_items[f"i{n}"] = kind
            made.append(
                ("item.started", f"i{n}", {"kind": kind, "name": "f", "message_id": f"m{n}"})
            )
            continue
        item = draw(st.sampled_from(sorted(open_items)))
        kind = open_items[item]
        if action == "delta":
            made.append(
                (
                    "item.delta",
                    item,
                    {"channel": KINDS[kind], "delta": draw(st.sampled_from("abc"))},
                )
            )
            continue
        del open_items[item]
        made.append(_done(action, item, kind))
    made += [_done("complete", item, kind) for item, kind in open_items.items()]
    made.append(("run.completed", None, {"usage": {}, "pending_calls": []}))
    return [RunEvent(1, seq, *entry) for seq, entry in enumerate(made, 1)]


#: A turn that is repeated: its message is aborted while another item is open.
ABORTED = [
    RunEvent(1, 1, "run.started", None, {}),
    RunEvent(1, 2, "item.started", "i0", {"kind": "message", "message_id": "m0"}),
    RunEvent(1, 3, "item.delta", "i0", {"channel": "text", "delta": "a"}),
    RunEvent(1, 4, "item.started", "i1", {"kind": "tool_call", "name": "f", "message_id": "m0"}),
    RunEvent(1, 5, "item.aborted", "i0", {"reason": "x"}),
    RunEvent(1, 6, "item.delta", "i1", {"channel": "arguments", "delta": "b"}),
    RunEvent(1, 7, "item.completed", "i1", {"kind": "tool_call", "item": {}}),
    RunEvent(1, 8, "run.completed", None, {"usage": {}, "pending_calls": []}),
]


@st.composite
def places(draw: st.DrawFn) -> tuple[list[RunEvent], int]:
    """A log, and a place in it after which a reader starts."""
    log = draw(logs())
    return log, draw(st.integers(1, len(log) - 1))


def _done(action: str, item: str, kind: str) -> tuple[EventType, str, Json]:
    if action == "abort":
        return "item.aborted", item, {"reason": "x"}
    return "item.completed", item, {"kind": kind, "item": {}}


def text_of(log: list[RunEvent], item: str | None) -> str:
    return "".join(e.data["delta"] for e in log if e.item_id == item and e.type == "item.delta")


def snapshot_of(log: list[RunEvent]) -> Snapshot:
    """The snapshot that the database returns for a log's prefix."""
    done = {e.item_id for e in log if e.type in ("item.completed", "item.aborted")}
    kept = [e for e in log if e.type == "item.completed" and e.data["kind"] == "message"]
    items = [
        Item(str(e.item_id), "message", {"role": "assistant", "content": text_of(log, e.item_id)})
        for e in kept
    ]
    half = [e for e in log if e.type in ("item.started", "item.delta") and e.item_id not in done]
    return Snapshot(1, log[-1].seq, items, half, {})


def stream(projection: Projection, log: list[RunEvent], at: int = 0) -> list[Json]:
    """The frames that a client reads after a place: an aborted item is replaced by a snapshot."""
    read: list[Json] = []
    for place in range(at, len(log)):
        if log[place].type == "item.aborted":
            read += frames(projection.write_snapshot(snapshot_of(log[: place + 1])))
        else:
            read += frames(projection.write(log[place : place + 1]))
    return read


@given(logs())
@example(ABORTED)
def test_every_log_keeps_the_order_of_the_protocol(log: list[RunEvent]) -> None:
    verifier = Verifier()

    verifier.read(stream(Projection(RUN), log))

    assert verifier.has_ended


@given(places())
@example((ABORTED, 3))
@example((ABORTED, 4))
@example((ABORTED, 5))
def test_a_stream_after_a_snapshot_at_any_place_keeps_the_order_and_the_text(
    place: tuple[list[RunEvent], int],
) -> None:
    log, at = place
    projection, verifier = Projection(RUN), Verifier()

    verifier.read(frames(projection.write_snapshot(snapshot_of(log[:at]))))
    verifier.read(stream(projection, log, at))

    completed = {
        e.item_id for e in log if e.type == "item.completed" and e.data["kind"] == "message"
    }
    for item in completed:
        assert verifier.texts[str(item)] == text_of(log, item)


@given(places())
@example((ABORTED, 3))
@example((ABORTED, 4))
@example((ABORTED, 5))
def test_a_snapshot_in_the_middle_of_a_stream_keeps_the_order(
    place: tuple[list[RunEvent], int],
) -> None:
    log, at = place
    projection, verifier = Projection(RUN), Verifier()

    verifier.read(stream(projection, log[:at]))
    verifier.read(frames(projection.write_snapshot(snapshot_of(log[:at]))))
    verifier.read(stream(projection, log, at))

    assert verifier.has_ended


@given(logs())
def test_two_projections_encode_the_same_events_to_the_same_bytes(log: list[RunEvent]) -> None:
    first = Projection(RUN).write(log)

    assert Projection(RUN).write(log) == first
    assert first.count(b"id: ") == first.count(b"data: ")


def test_a_stream_resumes_between_two_frames_of_one_event() -> None:
    log = [RunEvent(1, 2, "item.started", "i", {"kind": "reasoning", "message_id": "m"})]

    whole = Projection(RUN).write(log)
    rest = Projection(RUN).write(log, skip=1)

    assert [f["type"] for f in frames(whole)] == ["REASONING_START", "REASONING_MESSAGE_START"]
    assert b"id: 1.2.0\n" in whole
    assert frames(rest) == frames(whole)[1:]
    assert rest.startswith(b"id: 1.2\n")


def test_a_client_cut_off_inside_a_snapshot_resumes_with_the_whole_snapshot() -> None:
    snapshot = Snapshot(2, 7, [], [], {})

    written = Projection(RUN).write_snapshot(snapshot)

    ids = [line for line in written.split(b"\n") if line.startswith(b"id: ")]
    assert ids == [b"id: 0.0", b"id: 0.0", b"id: 2.7"]


@pytest.mark.parametrize(
    ("type_", "data"),
    [
        ("run.paused", {}),
        ("item.patched", {"fraction": 0.5}),
        ("turn.finished", {"usage": {"input_tokens": 1}}),
        ("item.started", {"kind": "summary"}),
        ("item.delta", {"channel": "summary", "deltas": ["x"]}),
        ("item.completed", {"kind": "later", "item": {}}),
    ],
)
def test_an_event_of_a_newer_version_writes_nothing_and_ends_nothing(
    type_: str, data: Json
) -> None:
    projection = Projection(RUN)
    projection.write([RunEvent(1, 1, "run.started", None, {})])

    row = {"attempt": 1, "seq": 2, "type": type_, "item_id": "item", "data": {"deltas": [], **data}}
    assert projection.write(decode(row)) == b""

    [last] = frames(projection.write([RunEvent(1, 3, "run.completed", None, {})]))
    assert last["type"] == "RUN_FINISHED"
