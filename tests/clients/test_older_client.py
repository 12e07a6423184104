"""Streams for a client that does not name a version, read by the client that CopilotKit and assistant-ui pin."""

import json
import subprocess
from pathlib import Path

import pytest

from local.gateway import find_deno
from shared.core.events import EventType, RunEvent, Snapshot
from shared.core.items import Item
from shared.core.json import Json
from shared.http.wires.agui.projection import Projection
from shared.runs.results import RunView

HERE = Path(__file__).parent
RUN = RunView(
    *("id", "run-1", "thread-1", None, "assistant", "in_progress", 1, 0),
    is_held=True,
    is_pruned=False,
    ending=None,
)
USAGE: Json = {"model": "m", "input_tokens": 1, "output_tokens": 2, "reasoning_tokens": 0}
INTERRUPT: Json = {
    "id": "i",
    "reason": "tool_call",
    "message": "May it?",
    "call_id": "c",
    "agent": "a",
    "expires_at": "2026-11-28T00:00:00Z",
}
#: The endings of a run: what its log has, and what an older client sees last.
ENDINGS: dict[str, tuple[EventType, Json, str]] = {
    "completed": ("run.completed", {"usage": USAGE, "output": {"a": 1}}, "RUN_FINISHED"),
    "pending calls": ("run.completed", {"pending_calls": ["c"]}, "RUN_FINISHED"),
    "cancelled": ("run.cancelled", {"usage": USAGE}, "RUN_ERROR"),
    "incomplete": ("run.incomplete", {"reason": "max_turns"}, "RUN_FINISHED"),
    "interrupted": ("run.interrupted", {"interrupts": [INTERRUPT]}, "RUN_FINISHED"),
    "failed": ("run.failed", {"code": "model_failed", "message": "It failed."}, "RUN_ERROR"),
}


def log(type_: EventType, data: Json) -> list[RunEvent]:
    """A run with an item of each kind, and this ending."""
    call: Json = {"kind": "tool_call", "name": "f", "message_id": "m"}
    entries: list[tuple[EventType, str | None, Json]] = [
        ("run.started", None, {}),
        ("item.started", "r", {"kind": "reasoning", "message_id": "m"}),
        ("item.delta", "r", {"channel": "reasoning", "delta": "hm"}),
        ("item.completed", "r", {"kind": "reasoning", "item": {}}),
        ("item.started", "m", {"kind": "message"}),
        ("item.delta", "m", {"channel": "text", "delta": "Hello"}),
        ("item.completed", "m", {"kind": "message", "item": {}}),
        ("item.started", "c", call),
        ("item.delta", "c", {"channel": "arguments", "delta": "{}"}),
        ("item.completed", "c", {"kind": "tool_call", "item": {}}),
        ("item.progress", "p", {"call_id": "c", "done": 1.0, "total": 2.0}),
        ("item.completed", "t", {"kind": "tool_result", "item": {"call_id": "c", "content": "x"}}),
        (type_, None, data),
    ]
    return [RunEvent(1, seq, *entry) for seq, entry in enumerate(entries, 1)]


def snapshot() -> Snapshot:
    """A thread with messages of each kind, some with parts."""
    image = {"type": "image", "source": {"type": "url", "value": "https://example.com/a.png"}}
    parts = [{"type": "text", "text": "What is this?"}, image]
    items = [
        Item("u", "message", {"role": "user", "content": parts, "name": "ann"}),
        Item("r", "reasoning", {"text": "hm", "message_id": "m"}),
        Item("c", "tool_call", {"name": "f", "arguments": "{}", "message_id": "m"}),
        Item("t", "tool_result", {"call_id": "c", "content": [{"type": "text", "text": "x"}]}),
        Item("a", "message", {"role": "assistant", "content": "A cat."}),
    ]
    return Snapshot(1, 12, items, [], {"a": 1})


def written(ending: tuple[EventType, Json, str], *, is_older: bool = True) -> dict[str, str]:
    """The stream of a run with this ending, live and after a snapshot."""
    type_, data, _ = ending
    live = Projection(RUN, for_older_client=is_older)
    later = Projection(RUN, for_older_client=is_older)
    attached = later.write_snapshot(snapshot()) + later.write(log(type_, data)[-1:])
    return {"live": live.write(log(type_, data)).decode(), "attached": attached.decode()}


def read(streams: dict[str, str], folder: Path) -> dict[str, Json]:
    """What the client made of each stream: {types, failure, messages}."""
    (folder / "streams.json").write_text(json.dumps(streams))
    command = [find_deno(), "run", "--quiet", "--config", str(HERE / "deno.json"), "--allow-all"]
    done = subprocess.run(
        [*command, HERE / "older_client.ts", folder / "streams.json"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {line["name"]: line for line in lines}


def test_the_older_client_reads_every_ending(tmp_path: Path) -> None:
    streams = {
        f"{name}, {way}": stream
        for name, ending in ENDINGS.items()
        for way, stream in written(ending).items()
    }

    for name, found in read(streams, tmp_path).items():
        *_, last = ENDINGS[name.partition(",")[0]]
        assert found["types"][-1] == last, found
        assert not found["failure"] or last == "RUN_ERROR", found
        assert "Zod" not in found["failure"], found


def test_the_older_client_refuses_what_one_that_names_its_version_gets(tmp_path: Path) -> None:
    names = ("cancelled", "pending calls")
    streams = {name: written(ENDINGS[name], is_older=False)["live"] for name in names}

    for found in read(streams, tmp_path).values():
        assert found["failure"], found
        assert not {"RUN_FINISHED", "RUN_ERROR"} & set(found["types"]), found


@pytest.mark.parametrize("name", ["cancelled", "completed"])
def test_readers_of_both_kinds_share_a_log(name: str) -> None:
    type_, data, _ = ENDINGS[name]
    events = log(type_, data)

    older, newer = (Projection(RUN, for_older_client=is_older) for is_older in (True, False))
    first, second = older.write(events), newer.write(events)

    assert first == Projection(RUN, for_older_client=True).write(events)
    assert second == Projection(RUN).write(events)
    assert (first == second) is (name == "completed")
