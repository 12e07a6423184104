"""The export of all a user's data as a stream, and its deletion."""

import json

import pytest

from shared.core.json import Json
from tests.fixtures.functions import Person
from tests.fixtures.threads import Library
from tests.fixtures.waiting import eventually
from tests.postgres.holders import append, entry, row, run_request, superuser

_RESTS = """select count(*) > 0 and bool_and(state = 'idle') from pg_stat_activity
  where usename = 'agent_api'"""


@pytest.fixture
async def person(threads: Library) -> Person:
    someone = await threads.person()
    await threads.talk(someone, "t", ("q", "a"))
    return someone


async def lines(person: Person, path: str) -> list[Json]:
    answer = await person.request("GET", path)
    assert answer.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in answer.text.splitlines()]


async def fill(threads: Library, count: int, more: int = 0) -> None:
    """Items, each with so many characters more: of a number or a size that no page of the export has."""
    async with threads.database.owner() as owner:
        await owner.execute(
            "insert into agent.item (thread_id, owner, key, kind, data)"
            " select id, owner, 'i' || n, 'message',"
            "        jsonb_build_object('role', 'user', 'content', 'i' || n || repeat('x', $2))"
            "   from agent.thread, generate_series(1, $1) n",
            count,
            more,
        )


async def test_a_thread_is_exported_whole_as_lines(threads: Library, person: Person) -> None:
    await fill(threads, 450)

    thread, *items = await lines(person, "/threads/t/export")

    assert thread == {"type": "thread", **(await person.request("GET", "/threads/t")).json()}
    assert [item["data"]["content"] for item in items] == [
        "q",
        "a",
        *(f"i{n}" for n in range(1, 451)),
    ]
    first = (await person.request("GET", "/threads/t/items?limit=1")).json()["data"][0]
    assert items[0] == {"type": "item", **first}


async def test_a_thread_is_exported_as_markdown(threads: Library, person: Person) -> None:
    await person.request("PATCH", "/threads/t", {"title": "A\n# title"})
    call = {"name": "run", "arguments": '{"code": "```"}'}
    kinds = (("tool_call", call), ("reasoning", {"text": "hm"}), ("tool_result", {"content": "42"}))
    async with threads.database.owner() as owner:
        for kind, data in kinds:
            await owner.execute(
                "insert into agent.item (thread_id, owner, key, kind, data)"
                " select id, owner, $1, $1, $2 from agent.thread",
                kind,
                json.dumps(data),
            )

    answer = await person.request("GET", "/threads/t/export?format=markdown")

    assert answer.headers["content-type"] == "text/markdown; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="t.md"'
    assert answer.text == (
        "# A # title\n\n## User\n\nq\n\n## Assistant\n\na\n\n"
        '### Call of run\n\n````\n{"code": "```"}\n````\n\n### Result\n\n```\n42\n```\n'
    )


async def test_a_name_that_no_header_can_have_is_made_safe(person: Person) -> None:
    await person.request("POST", "/threads", {"threadId": 'é";x'})

    answer = await person.request("GET", "/threads/%C3%A9%22%3Bx/export")

    assert answer.headers["content-disposition"] == 'attachment; filename="_x.jsonl"'


async def test_a_slow_reader_holds_no_connection(threads: Library, person: Person) -> None:
    await fill(threads, 1000, 20_000)
    headers = person.headers("GET", "/threads/t/export")
    url = f"{person.base}/threads/t/export"
    async with (
        superuser(threads.database) as watcher,
        person.client.stream("GET", url, headers=headers) as slow,
    ):
        pieces = slow.aiter_bytes(1000)
        await anext(pieces)
        # The client stops reading: the answer stops when the buffers are full, between two statements.
        await eventually(lambda: watcher.fetchval(_RESTS))
        size = 1000
        async for piece in pieces:
            size += len(piece)
    assert size > 20_000_000


async def test_a_user_gets_everything_and_nothing_of_others(
    threads: Library, person: Person
) -> None:
    other = await threads.person()
    await threads.talk(other, "of-other", ("secret", "secret"))
    await threads.db.call("write_note", other.claims, None, "k", "secret")
    await threads.db.call("write_note", person.claims, None, "k", "my note")
    leased = await threads.begin(person, "u", "r")
    interrupt = {
        "id": "6b0f4f52-3f0e-4c39-9d2b-6a0f2f4f3f00",
        "reason": "tool_call",
        "state": "kept",
    }
    spent = row(2, "turn.finished", usage={"input_tokens": 5, "output_tokens": 2})
    ending = row(3, "run.interrupted", interrupts=[interrupt])
    assert await append(threads.db, entry(leased, spent, ending)) == ["ok"]
    await fill(threads, 250)
    await person.request("DELETE", "/threads/gone")
    await threads.db.call("cancel_run", person.claims, "r", "x")

    found = await lines(person, "/me/export")

    by_type: dict[str, list[Json]] = {}
    for line in found:
        by_type.setdefault(line["type"], []).append(line)
    counts = {kind: len(rows) for kind, rows in by_type.items()}
    assert counts == {
        "thread": 2,
        "run": 2,
        "item": 3 + 2 * 250,
        "interrupt": 1,
        "note": 1,
        "audit_event": 1,
    }
    (run,) = (run for run in by_type["run"] if run["runId"] == "r")
    assert run["turns"][0]["input_tokens"] == 5
    assert run["threadId"] == "u"
    text = json.dumps(found)
    assert "secret" not in text
    assert "kept" not in text
    assert other.sub not in text


async def test_a_user_deletes_everything_and_others_keep_theirs(
    threads: Library, person: Person
) -> None:
    other = await threads.person()
    await threads.talk(other, "t", ("q", "a"))
    await threads.db.call("write_note", person.claims, None, "k", "my note")
    leased = await threads.begin(person, "u", "ended")
    spent = row(2, "turn.finished", usage={"input_tokens": 5, "output_tokens": 2})
    assert await append(threads.db, entry(leased, spent, row(3, "run.completed"))) == ["ok"]
    await threads.db.call(
        "start_run", person.claims, run_request(run="waits", thread="v"), None, {}
    )
    await fill(threads, 6000)
    await person.request("DELETE", "/threads/t")

    assert (await person.request("DELETE", "/me")).status_code == 204

    assert (await person.request("GET", "/threads?archived=all")).json()["data"] == []
    async with threads.database.owner() as owner:
        for table in ("thread", "run", "item", "interrupt", "note", "turn_usage"):
            left = await owner.fetchval(
                f"select count(*) from agent.{table} where owner = $1", person.sub
            )
            assert left == 0, table
        audit = await owner.fetch(
            "select action, subject from agent.audit_event where owner = $1 order by id", person.sub
        )
        deletions = [tuple(found) for found in audit if "run" not in found["action"]]
        assert deletions == [("thread.delete", "t"), ("user.erase", None)]
    assert await threads.db.call("tokens_left", person.sub, 100) == 93, "no new tokens for today"
    assert len((await person.request("GET", "/threads")).json()["data"]) == 0
    assert len((await other.request("GET", "/threads/t/items?limit=5")).json()["data"]) == 5
    assert (await person.request("POST", "/threads", {"threadId": "t"})).status_code == 201


async def test_a_held_run_is_cancelled_before_it_is_removed(
    threads: Library, person: Person
) -> None:
    leased = await threads.begin(person, "u", "live")

    assert (await person.request("DELETE", "/me")).status_code == 204

    verdicts = await threads.db.rows("append_events", [entry(leased)])
    assert verdicts[0]["verdict"] == "cancel"
    assert await append(threads.db, entry(leased, row(2, "run.cancelled"))) == ["cancel"]
    assert (await person.request("DELETE", "/me")).status_code == 204
    async with threads.database.owner() as owner:
        assert (
            await owner.fetchval("select count(*) from agent.run where owner = $1", person.sub) == 0
        )


async def test_an_export_is_in_the_audit_before_its_first_byte(
    threads: Library, person: Person
) -> None:
    other = await threads.person()
    assert (await other.request("GET", "/threads/t/export")).status_code == 404
    await person.request("GET", "/threads/t/export")
    await person.request(
        "GET", "/threads/t/export?format=markdown", **{"x-request-id": "request-7"}
    )

    found = await lines(person, "/me/export")

    audit = [line for line in found if line["type"] == "audit_event"]
    assert [(line["action"], line["outcome"], line["subject"]) for line in audit] == [
        ("thread.export", "ok", "t"),
        ("thread.export", "ok", "t"),
        ("user.export", "ok", None),
    ]
    assert audit[1]["requestId"] == "request-7"
    async with threads.database.owner() as owner:
        assert await owner.fetchval("select count(*) from agent.audit_event") == 3


async def test_a_deleted_user_can_export_nothing(threads: Library, person: Person) -> None:
    async with threads.database.owner() as owner:
        await owner.execute("delete from auth.users where id = $1", person.sub)

    refused = await person.request("GET", "/me/export")

    assert (refused.status_code, refused.json()["code"]) == (401, "unauthorized")


async def test_an_export_larger_than_a_value_of_postgres_is_complete(
    threads: Library, person: Person
) -> None:
    """More than a value of Postgres can hold: a quarter of a gigabyte."""
    await fill(threads, 70, 4_000_000)
    async with threads.database.owner() as owner:
        await owner.execute(
            "insert into agent.run"
            " (thread_id, owner, client_run_id, agent, request, request_hash, status, ended_at, ending)"
            " select id, owner, 'r' || n, 'assistant', to_jsonb(repeat('x', 4000000)), '', 'completed', now(), '{}'"
            "   from agent.thread, generate_series(1, 70) n"
        )

    for path, count in (("/threads/t/export", 73), ("/me/export", 1 + 72 + 71 + 2)):
        headers = person.headers("GET", path)
        async with person.client.stream("GET", person.base + path, headers=headers) as answer:
            assert sum([chunk.count(b"\n") async for chunk in answer.aiter_bytes()]) == count
