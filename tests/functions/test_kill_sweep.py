"""A process is killed after any one frame of a stream: another one finishes the run, and the client neither misses
anything nor sees anything twice."""

import json
import signal
from collections.abc import AsyncIterator, Sequence

import pytest

from shared.core.json import Json
from tests.doubles import ModelServer, Piece, Reply, calls, chunk, says
from tests.fixtures.conversations import all_legs, final_text, messages, types
from tests.fixtures.database import TestDatabase
from tests.fixtures.foreign import foreign
from tests.fixtures.functions import run_input
from tests.fixtures.processes import started
from tests.fixtures.waiting import until_expired

#: The frames of the whole stream without a kill.
WHOLE = [
    "RUN_STARTED",
    "REASONING_START",
    "REASONING_MESSAGE_START",
    "REASONING_MESSAGE_CONTENT",
    "REASONING_MESSAGE_END",
    "REASONING_END",
    "TEXT_MESSAGE_START",
    "TEXT_MESSAGE_CONTENT",
    "TOOL_CALL_START",
    "TOOL_CALL_ARGS",
    "TOOL_CALL_ARGS",
    "TEXT_MESSAGE_END",
    "TOOL_CALL_END",
    "TOOL_CALL_RESULT",
    "TEXT_MESSAGE_START",
    "TEXT_MESSAGE_CONTENT",
    "TEXT_MESSAGE_CONTENT",
    "TEXT_MESSAGE_END",
    "RUN_FINISHED",
]
#: In the short suite: before the model has written, in the middle of an answer, and while a tool's result is read.
CHOSEN = {"RUN_STARTED", "TOOL_CALL_END", "TOOL_CALL_RESULT"}
_RESULT = WHOLE.index("TOOL_CALL_RESULT")


def paced(pieces: Sequence[Piece]) -> Reply:
    """An answer slow enough for a kill between two of its frames."""
    return Reply([part for piece in pieces for part in (0.1, piece)])


def reply(request: Json) -> Reply:
    if request["messages"][-1]["role"] == "tool":
        return paced(says("I see ", "it"))
    first = [chunk({"reasoning_content": "hm"}), chunk({"content": "Looking. "})]
    return paced([*first, *calls(("call_0", "look", "{}"))])


async def look(_: Json) -> Json:
    return {"content": [{"type": "text", "text": "seen"}]}


@pytest.fixture
async def settings(model: ModelServer) -> AsyncIterator[Json]:
    """The settings of a process with a repeatable tool."""
    model.answer_all = reply
    async with foreign(look, {"name": "look", "inputSchema": {"type": "object"}}) as (url, _):
        world = {"url": url, "approval": "never", "repeatable": ["look"]}
        yield {"mcp_servers": json.dumps({"world": world}), "keep_alive_seconds": 0.2}


async def test_a_run_without_a_kill_has_as_many_frames_as_the_test_below_assumes(
    database: TestDatabase, model: ModelServer, settings: Json
) -> None:
    async with started("assistant", database, model, **settings) as process:
        frames = await (await process.new_person()).run(run_input("look"))

    assert types(frames) == WHOLE


@pytest.mark.parametrize(
    "place",
    [
        pytest.param(nth, id=f"{nth}-{name}", marks=[] if name in CHOSEN else pytest.mark.long)
        for nth, name in enumerate(WHOLE[:-1])
    ],
)
async def test_a_kill_after_any_frame_loses_nothing_and_repeats_no_closed_turn(
    database: TestDatabase, model: ModelServer, settings: Json, place: int
) -> None:
    async with started("assistant", database, model, **settings) as first:
        person = await first.new_person()
        async with person.stream("POST", "/runs", run_input("look")) as frames:
            seen = [await frames.next() or {} for _ in range(place + 1)]
            cursor = frames.ids[-1]
            await first.signal(signal.SIGKILL)
    await until_expired(database)

    async with started("assistant", database, model, **settings) as second:
        back = second.person(person)
        seen += await all_legs(back, cursor)
        kept = [m.get("content", "") for m in await messages(back) if m["role"] == "assistant"]

    assert final_text(seen) == "".join(kept) == "Looking. I see it"
    assert types(seen).count("RUN_FINISHED") == 1
    turns = [request["messages"][-1]["role"] for request in model.requests]
    assert turns.count("tool") + turns.count("user") <= 3, "one turn was interrupted"
    if place > _RESULT:
        assert turns.count("user") == 1, "the first turn was closed"
