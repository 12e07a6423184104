"""A run outlives its clients: they leave, resume, follow from any cursor, and cancel."""

import asyncio
from uuid import uuid4

import pytest

from tests.doubles import ModelServer, chunk, says
from tests.fixtures.conversations import body, text, types, user, wait_for_status
from tests.fixtures.functions import Person, Served, run_input, serve
from tests.fixtures.waiting import until_text_committed


async def test_a_run_continues_without_its_client_and_events_give_the_rest(
    agent: Served, model: ModelServer
) -> None:
    person, proceed = await agent.person(), asyncio.Event()
    model.will([chunk({"content": "before"}), proceed, *says(" after")])
    async with person.stream("POST", "/runs", run_input("hi")) as frames:
        await frames.until("TEXT_MESSAGE_CONTENT")
        cursor = frames.ids[-1]
    proceed.set()

    async with person.stream("GET", "/runs/run-1/events", **{"last-event-id": cursor}) as frames:
        rest = await frames.rest()

    assert types(rest) == ["TEXT_MESSAGE_CONTENT", "TEXT_MESSAGE_END", "RUN_FINISHED"]
    assert text(rest) == " after"


async def test_a_replay_from_any_cursor_has_exactly_the_rest(
    agent: Served, model: ModelServer
) -> None:
    person = await agent.person()
    model.will([chunk({"reasoning": "hm"}), *says("a", "b", "c")])
    async with person.stream("POST", "/runs", run_input("hi")) as frames:
        whole = await frames.rest()
        cursors = frames.ids
    assert len(cursors) == len(whole)
    assert len(set(cursors)) == len(whole)

    for place, cursor in enumerate(cursors):
        async with person.stream("GET", f"/runs/run-1/events?after={cursor}") as frames:
            assert await frames.rest() == whole[place + 1 :], cursor
            assert frames.ids == cursors[place + 1 :]


async def test_events_without_a_cursor_replay_the_run_from_its_start(
    agent: Served, model: ModelServer
) -> None:
    person = await agent.person()
    model.will(says("a", "b"))
    whole = await person.run(run_input("hi"))

    async with person.stream("GET", "/runs/run-1/events") as frames:
        assert await frames.rest() == whole


async def test_a_process_that_does_not_hold_a_run_can_follow_it(
    agent: Served, model: ModelServer
) -> None:
    person, proceed = await agent.person(), asyncio.Event()
    model.will([chunk({"content": "one"}), proceed, *says(" two")])
    async with serve(agent.database, model) as other:
        stranger = Person(other.client, other.base, person.sub, person.session_id)
        async with person.stream("POST", "/runs", run_input("hi")) as frames:
            await frames.until("TEXT_MESSAGE_CONTENT")
            async with stranger.stream("GET", "/runs/run-1/events") as followed:
                assert (await followed.until("TEXT_MESSAGE_CONTENT"))["delta"] == "one"
                proceed.set()
                assert text(await followed.rest()) == " two"


@pytest.mark.parametrize("cursor", ["0.3", "2.1", "1.999"])
async def test_a_reader_with_a_meaningless_cursor_gets_a_snapshot(
    agent: Served, model: ModelServer, cursor: str
) -> None:
    person = await agent.person()
    model.will(says("whole"))
    await person.run(run_input("hi"))

    async with person.stream("GET", f"/runs/run-1/events?after={cursor}") as frames:
        seen = await frames.rest()

    assert types(seen) == ["RUN_STARTED", "MESSAGES_SNAPSHOT", "STATE_SNAPSHOT", "RUN_FINISHED"]
    assert [m["content"] for m in seen[1]["messages"]] == ["hi", "whole"]


async def test_connect_shows_the_thread_with_open_items_and_continues(
    agent: Served, model: ModelServer
) -> None:
    person, proceed = await agent.person(), asyncio.Event()
    model.will([chunk({"content": "Hel"}), proceed, *says("lo")])
    async with person.stream("POST", "/runs", run_input("hi", state={"n": 1})) as frames:
        await frames.until("TEXT_MESSAGE_CONTENT")
        await until_text_committed(agent.database)
        async with person.stream("POST", "/connect", {"threadId": "thread-1"}) as attached:
            head = [await attached.next() for _ in range(4)]
            proceed.set()
            rest = await attached.rest()

    started, messages, state, opened = [frame or {} for frame in head]
    assert (started["type"], started["runId"]) == ("RUN_STARTED", "run-1")
    assert [m["content"] for m in messages["messages"]] == ["hi", "Hel"]
    assert state == {"type": "STATE_SNAPSHOT", "snapshot": {"n": 1}}
    assert opened["messageId"] == messages["messages"][1]["id"]
    assert types(rest) == ["TEXT_MESSAGE_CONTENT", "TEXT_MESSAGE_END", "RUN_FINISHED"]
    assert text(rest) == "lo"


async def test_the_same_run_id_twice_gives_one_run(agent: Served, model: ModelServer) -> None:
    person = await agent.person()
    model.will(says("once"))
    body = run_input("hi")

    first, second = await asyncio.gather(person.run(body), person.run(body))
    third = await person.run(body)

    assert len(model.requests) == 1
    for frames in (first, second, third):
        assert types(frames)[-1] == "RUN_FINISHED"
    assert types(third)[1] == "MESSAGES_SNAPSHOT"


async def test_a_run_id_with_another_request_is_refused(agent: Served, model: ModelServer) -> None:
    person = await agent.person()
    model.will(says("once"))
    await person.run(run_input("hi"))

    refused = await person.request("POST", "/runs", run_input("other"))

    assert (refused.status_code, refused.json()["code"]) == (409, "run_id_reused")


async def test_cancel_ends_a_run_and_keeps_its_text(agent: Served, model: ModelServer) -> None:
    person, never = await agent.person(), asyncio.Event()
    model.will([chunk({"content": "so far"}), never])
    async with person.stream("POST", "/runs", run_input("hi")) as frames:
        await frames.until("TEXT_MESSAGE_CONTENT")
        answer = await person.request("POST", "/runs/run-1/cancel")
        assert answer.status_code == 202
        rest = await frames.rest()
    assert types(rest) == ["TEXT_MESSAGE_END", "RUN_FINISHED"]
    assert rest[-1]["outcome"] == {"type": "cancelled"}

    again = await person.request("POST", "/runs/run-1/cancel")
    assert (again.status_code, again.json()["status"]) == (200, "cancelled")
    async with person.stream("POST", "/connect", {"threadId": "thread-1"}) as frames:
        messages = (await frames.until("MESSAGES_SNAPSHOT"))["messages"]
    assert messages[-1]["content"] == "so far"
    never.set()


async def test_cancel_reaches_a_run_in_another_process(agent: Served, model: ModelServer) -> None:
    person, never = await agent.person(), asyncio.Event()
    model.will([chunk({"content": "so far"}), never])
    async with (
        serve(agent.database, model) as other,
        person.stream("POST", "/runs", run_input("hi")) as frames,
    ):
        await frames.until("TEXT_MESSAGE_CONTENT")
        stranger = Person(other.client, other.base, person.sub, person.session_id)
        await stranger.request("POST", "/runs/run-1/cancel")
        assert types(await frames.rest())[-1] == "RUN_FINISHED"
    never.set()


async def test_on_disconnect_cancel_ends_the_run_of_a_client_that_leaves(
    agent: Served, model: ModelServer
) -> None:
    person, never = await agent.person(), asyncio.Event()
    model.will([chunk({"content": "so far"}), never])
    body = run_input("hi", forwardedProps={"onDisconnect": "cancel"})

    async with person.stream("POST", "/runs", body) as frames:
        await frames.until("TEXT_MESSAGE_CONTENT")

    await wait_for_status(person, "cancelled")
    never.set()


async def test_a_leg_ends_by_itself_with_a_cursor_to_resume_from(
    agent: Served, model: ModelServer
) -> None:
    person, proceed = await agent.person(), asyncio.Event()
    model.will([chunk({"content": "one"}), proceed, *says(" two")])
    async with (
        serve(agent.database, model, stream_leg_seconds=0.1, keep_alive_seconds=0.05) as other,
        person.stream("POST", "/runs", run_input("hi")) as frames,
    ):
        await frames.until("TEXT_MESSAGE_CONTENT")
        stranger = Person(other.client, other.base, person.sub, person.session_id)
        async with stranger.stream("GET", "/runs/run-1/events") as leg:
            *seen, last = await leg.rest()
        assert last["name"] == "stream.leg_ended"
        proceed.set()
        await frames.rest()
        after = last["value"]["cursor"]
        async with person.stream("GET", f"/runs/run-1/events?after={after}") as rest:
            assert text(seen) + text(await rest.rest()) == "one two"


async def test_two_users_never_see_each_others_runs(agent: Served, model: ModelServer) -> None:
    alice, bob = await agent.person(), await agent.person()
    model.will(says("for alice"), says("for bob"))
    await alice.run(run_input("hi"))

    for method, path, sent in (
        ("GET", "/runs/run-1", None),
        ("GET", "/runs/run-1/events", None),
        ("POST", "/runs/run-1/cancel", None),
        ("POST", "/connect", {"threadId": "thread-1"}),
        ("POST", "/connect", {"threadId": "thread-1", "runId": "run-1"}),
    ):
        answer = await bob.request(method, path, sent)
        assert (answer.status_code, answer.json()["code"]) == (404, "run_not_found"), path

    # The same ids are bob's own.
    assert text(await bob.run(run_input("hello"))) == "for bob"
    assert [m["content"] for m in model.requests[1]["messages"][1:]] == ["hello"]


async def test_a_deleted_user_leaves_nothing(agent: Served, model: ModelServer) -> None:
    person = await agent.person()
    model.will(says("gone soon"))
    await person.run(run_input("hi"))

    async with agent.database.owner() as owner:
        await owner.execute("delete from auth.users where id = $1", person.sub)
        for table in ("thread", "run", "run_event", "item", "lease", "run_secret", "audit_event"):
            assert await owner.fetchval(f"select count(*) from agent.{table}") == 0, table


async def test_ids_are_opaque_and_bounded(agent: Served, model: ModelServer) -> None:
    person = await agent.person()
    run = "ré un*'\"?%" + uuid4().hex
    model.will(says("ok"))
    assert types(await person.run(run_input("hi", run=run[:128], thread="t" * 128)))[-1] == (
        "RUN_FINISHED"
    )
    for bad in ("r" * 129, "a/b", "a\\b", "..", ".", "", "a\nb"):
        refused = await person.request("POST", "/runs", run_input("hi", run=bad))
        assert (refused.status_code, refused.json()["code"]) == (422, "invalid_request"), bad


async def test_a_client_with_half_a_snapshot_gets_the_whole_one(
    agent: Served, model: ModelServer
) -> None:
    person = await agent.person()
    model.will(says("hello"))
    await person.run(run_input("hi"))

    async with person.stream("GET", "/runs/run-1/events?after=0.0") as frames:
        seen = await frames.rest()

    assert types(seen) == ["RUN_STARTED", "MESSAGES_SNAPSHOT", "STATE_SNAPSHOT", "RUN_FINISHED"]


async def test_a_client_that_was_cut_off_inside_a_waiting_runs_snapshot_gets_it_again(
    agent: Served, model: ModelServer
) -> None:
    person, proceed = await agent.person(), asyncio.Event()
    model.will([chunk({"content": "first"}), proceed, *says()], says("second"))
    async with person.stream("POST", "/runs", run_input("hi")) as frames:
        await frames.until("TEXT_MESSAGE_CONTENT")
        later = body("run-2", user("u2", "more"), busyPolicy="enqueue")
        later["forwardedProps"]["background"] = True
        await person.request("POST", "/runs", later)
        async with person.stream("GET", "/runs/run-2/events?after=0.0") as waiting:
            # It has only the first frames of the snapshot, which carry this cursor.
            snapshot = await waiting.until("MESSAGES_SNAPSHOT")
        proceed.set()
        await frames.rest()

    assert snapshot["messages"][0]["content"] == "hi"
    await wait_for_status(person, "completed", "run-2")
