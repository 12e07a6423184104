"""Combinations of rules: queues and histories, endings without a holder, limits, and errors that stay isolated."""

import asyncio
import logging
from typing import Any

from shared.core.json import Json
from shared.core.log import logger
from tests.doubles import ModelServer, Reply, chunk, says
from tests.fixtures.conversations import (
    body,
    enqueue,
    leave_orphan,
    messages,
    text,
    types,
    user,
)
from tests.fixtures.database import TestDatabase
from tests.fixtures.functions import Person, Served, run_input, serve
from tests.fixtures.waiting import eventually


async def test_two_queued_runs_with_the_same_history_are_both_answered(
    agent: Served, model: ModelServer
) -> None:
    person, proceed = await agent.person(), asyncio.Event()
    model.will([chunk({"content": "a"}), proceed, *says("b")], says("two"), says("three"))
    first, second = user("m1", "one"), user("m2", "second")
    async with person.stream("POST", "/runs", body("run-1", first)) as frames:
        await frames.until("TEXT_MESSAGE_CONTENT")
        queued = []
        for run, *history in (
            ("run-2", first, second),
            ("run-3", first, second, user("m3", "third")),
        ):
            queued.append(await enqueue(person, run, *history))
        proceed.set()
        await frames.rest()
        answers = await asyncio.gather(*queued)

    assert [text(frames) for frames in answers] == ["two", "three"]
    assert [types(frames).count("RUN_STARTED") for frames in answers] == [1, 1]
    contents = [m["content"] for m in await messages(person)]
    assert contents == ["one", "ab", "second", "two", "third", "three"]


async def test_cancelling_a_run_that_no_process_holds_keeps_its_text_and_its_reader_sees_the_end(
    agent: Served, model: ModelServer
) -> None:
    person = await agent.person()
    cursor = await leave_orphan(agent, person, model)
    answer = await person.request("POST", "/runs/run-1/cancel")
    assert answer.json()["status"] == "cancelled"

    path = f"/runs/run-1/events?after={cursor}&protocolVersion=1.0"
    async with person.stream("GET", path) as frames:
        seen = await frames.rest()

    assert types(seen) == ["RUN_STARTED", "MESSAGES_SNAPSHOT", "STATE_SNAPSHOT", "RUN_FINISHED"]
    assert seen[1]["messages"][-1]["content"] == "so far"
    assert seen[-1]["outcome"] == {"type": "cancelled"}


async def test_a_reader_of_a_run_cancelled_in_the_queue_gets_its_start_and_its_end(
    agent: Served, model: ModelServer
) -> None:
    person, proceed = await agent.person(), asyncio.Event()
    model.will([chunk({"content": "a"}), proceed, *says("b")])
    async with person.stream("POST", "/runs", run_input("hi")) as frames:
        await frames.until("TEXT_MESSAGE_CONTENT")
        queued = await enqueue(person, "run-2", user("u2", "x"))
        await person.request("POST", "/runs/run-2/cancel")
        assert types(await queued) == ["RUN_STARTED", "RUN_FINISHED"]
        proceed.set()
        await frames.rest()


async def test_rewinding_to_a_message_after_an_edit_rewinds_to_the_edit(
    agent: Served, model: ModelServer
) -> None:
    person = await agent.person()
    model.will(says("one"), says("anew"))
    await person.run(body("run-1", user("u1", "first")))
    reply = (await messages(person))[1]["id"]

    await person.run(body("run-2", user("u1", "first, better"), rewindTo=reply))

    assert [m["content"] for m in await messages(person)] == ["first, better", "anew"]


async def test_the_limit_of_live_runs_holds_against_many_at_once(
    database: TestDatabase, model: ModelServer
) -> None:
    never = asyncio.Event()
    model.answer_all = lambda _: Reply([chunk({"content": "a"}), never])
    async with serve(database, model, max_live_runs=2) as agent:
        person = await agent.person()

        async def status(n: int) -> int:
            path = run_input("hi", run=f"run-{n}", thread=f"thread-{n}")
            async with person.stream("POST", "/runs", path) as frames:
                return frames.response.status_code

        codes = await asyncio.gather(*(status(n) for n in range(8)))
        assert sorted(codes) == [200] * 2 + [503] * 6
    never.set()


async def test_a_failed_poll_does_not_end_a_readers_stream(
    agent: Served, database: TestDatabase, model: ModelServer
) -> None:
    has_failed = asyncio.Event()

    def note(record: logging.LogRecord) -> bool:
        if record.msg == "run_log.poll_failed":
            has_failed.set()
        return False

    logger.addFilter(note)

    person = await agent.person()
    model.will(says("whole"))
    await person.run(run_input("hi"))
    revoke = "revoke execute on function agent.poll_runs from agent_api"
    async with database.owner() as owner, serve(database, model) as other:
        await owner.execute(revoke)
        reader = Person(other.client, other.base, person.sub, person.session_id)
        async with reader.stream("GET", "/runs/run-1/events") as frames:
            async with asyncio.timeout(5):
                await has_failed.wait()
            logger.removeFilter(note)
            await owner.execute("grant execute on function agent.poll_runs to agent_api")
            assert text(await frames.rest()) == "whole"


async def test_a_tool_name_postgres_cannot_keep_does_not_lose_the_run(
    agent: Served, model: ModelServer
) -> None:
    person = await agent.person()
    call: Json = {"index": 0, "id": "a\0", "function": {"name": "no\0pe\ud800", "arguments": "{}"}}
    model.will([chunk({"tool_calls": [call]}), chunk(finish="tool_calls")], says("sorry"))

    assert types(await person.run(run_input("hi")))[-1] == "RUN_FINISHED"


async def test_content_nested_too_deeply_is_refused(agent: Served) -> None:
    person = await agent.person()
    deep: Any = "x"
    for _ in range(249):
        deep = [deep]
    request = run_input("x", state=deep)

    refused = await person.request("POST", "/runs", request)

    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_request")


async def test_an_id_no_run_can_have_is_refused_in_a_path(agent: Served) -> None:
    person = await agent.person()

    for path in ("/runs/%00", "/runs/%00/events", "/runs/a%5Cb"):
        assert (await person.request("GET", path)).status_code == 422, path


async def test_the_same_long_history_again_is_compared_quickly(
    agent: Served, model: ModelServer
) -> None:
    person = await agent.person()
    history = [user(f"u{n}", "x") for n in range(3000)]
    model.will(says("one"), says("two"))

    await person.run(body("run-1", *history))
    frames = await person.run(body("run-2", *history, user("last", "y")))

    assert text(frames) == "two"


async def test_a_keep_alive_before_the_rest_of_an_event_repeats_none_of_its_frames(
    agent: Served, database: TestDatabase, model: ModelServer
) -> None:
    person = await agent.person()
    model.will([chunk({"reasoning": "hm"}), *says("a")])
    async with person.stream("POST", "/runs", run_input("hi")) as frames:
        whole, cursors = await frames.rest(), frames.ids
    place = next(nth for nth, cursor in enumerate(cursors) if cursor.count(".") == 2)
    path = f"/runs/run-1/events?after={cursors[place]}"
    right = "execute on function agent.poll_runs"
    async with (
        database.owner() as owner,
        serve(database, model, keep_alive_seconds=0.05) as other,
    ):
        await owner.execute(f"revoke {right} from agent_api")
        reader = Person(other.client, other.base, person.sub, person.session_id)
        async with reader.stream("GET", path) as frames:
            rest = asyncio.ensure_future(frames.rest())

            async def is_kept_alive() -> bool:
                return bool(frames.comments)

            await eventually(is_kept_alive)
            await owner.execute(f"grant {right} to agent_api")
            assert await rest == whole[place + 1 :]
