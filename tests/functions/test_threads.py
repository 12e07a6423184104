"""A user's threads over REST: created once, listed newest first, changed from their latest version, and deleted."""

import asyncio
import json
from urllib.parse import quote
from uuid import uuid4

import pytest

from shared.core.json import Json
from tests.fixtures.functions import Person
from tests.fixtures.threads import Library
from tests.fixtures.waiting import eventually
from tests.postgres.holders import append, entry, run_request, superuser

_WAITS = """select exists (
  select from pg_stat_activity where usename = 'agent_api' and wait_event_type = 'Lock')"""


@pytest.fixture
async def person(threads: Library) -> Person:
    return await threads.person()


async def create(person: Person, thread: str = "t", **more: object) -> Json:
    made = await person.request("POST", "/threads", {"threadId": thread, **more})
    assert made.status_code == 201, made.text
    return made.json()  # type: ignore[no-any-return]


async def names(person: Person, query: str = "") -> list[str]:
    page = (await person.request("GET", f"/threads?{query}")).json()
    return [thread["threadId"] for thread in page["data"]]


async def code(
    person: Person, method: str, path: str, body: object = None, **headers: str
) -> tuple[int, str]:
    refused = await person.request(method, path, body, **headers)
    assert refused.headers["content-type"] == "application/problem+json"
    return refused.status_code, refused.json()["code"]


async def test_a_created_thread_has_a_location_and_an_etag_and_can_be_read(person: Person) -> None:
    made = await person.request(
        "POST", "/threads", {"threadId": "a b", "title": "T", "metadata": {"p": 1}}
    )

    assert made.status_code == 201
    assert made.headers["location"] == "threads/a%20b"
    read = await person.request("GET", "/threads/a%20b")
    assert read.json() == made.json()
    assert read.headers["etag"] == made.headers["etag"]
    assert read.headers["cache-control"] == "private, no-cache"
    assert {k: v for k, v in read.json().items() if not k.endswith("At")} == {
        "threadId": "a b",
        "title": "T",
        "metadata": {"p": 1},
        "status": "idle",
    }


async def test_without_an_id_a_thread_gets_one(person: Person) -> None:
    made = await person.request("POST", "/threads", {})

    assert (await person.request("GET", f"/threads/{made.json()['threadId']}")).status_code == 200


async def test_an_id_names_one_thread(person: Person) -> None:
    await create(person)

    assert await code(person, "POST", "/threads", {"threadId": "t"}) == (409, "thread_exists")


async def test_an_idempotency_key_creates_one_thread_however_often(person: Person) -> None:
    body = {"title": "once", "metadata": {"a": 1, "b": 2}}
    answers = await asyncio.gather(
        *(person.request("POST", "/threads", body, **{"idempotency-key": "k"}) for _ in range(5))
    )

    assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 200, 201]
    assert len({answer.text for answer in answers}) == 1
    other = {"title": "twice"}
    reused = await code(person, "POST", "/threads", other, **{"idempotency-key": "k"})
    assert reused == (409, "idempotency_key_reused")
    assert len(await names(person)) == 1


async def test_lists_are_in_the_order_of_activity_and_continue_after_a_cursor(
    threads: Library, person: Person
) -> None:
    for number in range(5):
        await create(person, f"t{number}")
    leased = await threads.begin(person, "t1", "r")
    assert await names(person) == ["t1", "t4", "t3", "t2", "t0"]
    await create(person, "t5")
    await threads.end(leased, "answer")

    seen, cursor = [], ""
    while True:
        page = (await person.request("GET", f"/threads?limit=2{cursor}")).json()
        seen += [thread["threadId"] for thread in page["data"]]
        if page["next"] is None:
            break
        cursor = f"&after={page['next']}"
    assert seen == ["t1", "t5", "t4", "t3", "t2", "t0"]


async def test_a_list_is_of_the_threads_that_contain_the_metadata(person: Person) -> None:
    for number in range(4):
        await create(person, f"t{number}", metadata={"kind": {"of": number % 2}, "n": number})
    await create(person, "plain")

    assert await names(person, 'metadata={"kind":{"of":1}}') == ["t3", "t1"]
    assert await names(person, 'metadata={"kind":{"of":1}}&limit=1') == ["t3"]
    assert await names(person, 'metadata={"kind":{"of":1},"n":1}') == ["t1"]
    assert await names(person, 'metadata={"n":"1"}') == []
    assert len(await names(person, "metadata={}")) == 5
    for wrong in ("[]", "{", "1", '{"a":' * 300, "[" * 5000):
        assert (await code(person, "GET", f"/threads?metadata={quote(wrong)}"))[
            1
        ] == "invalid_request"


async def test_archived_threads_are_listed_apart(person: Person) -> None:
    for name in ("a", "b", "c"):
        await create(person, name)
    archived = await person.request("PATCH", "/threads/b", {"archived": True})

    assert archived.json()["archivedAt"]
    assert await names(person) == ["c", "a"]
    assert await names(person, "archived=true") == ["b"]
    assert await names(person, "archived=all") == ["c", "b", "a"]
    again = await person.request("PATCH", "/threads/b", {"archived": True})
    assert again.json() == archived.json()
    back = await person.request("PATCH", "/threads/b", {"archived": False})
    assert back.json()["archivedAt"] is None
    assert await names(person) == ["c", "b", "a"], "archiving is no activity"


async def test_a_change_keeps_the_members_that_it_leaves_out(person: Person) -> None:
    await create(person, title="old", metadata={"a": 1})

    renamed = (await person.request("PATCH", "/threads/t", {"title": "new"})).json()
    assert (renamed["title"], renamed["metadata"]) == ("new", {"a": 1})
    replaced = (await person.request("PATCH", "/threads/t", {"metadata": {"b": 2}})).json()
    assert (replaced["title"], replaced["metadata"]) == ("new", {"b": 2})
    cleared = (await person.request("PATCH", "/threads/t", {"title": None})).json()
    assert cleared["title"] is None
    assert (await person.request("PATCH", "/threads/t", {})).json() == cleared


async def test_of_two_changes_to_one_version_the_second_is_refused(person: Person) -> None:
    await create(person)
    tag = (await person.request("GET", "/threads/t")).headers["etag"]

    changes = [{"title": f"by {n}"} for n in range(4)]
    answers = await asyncio.gather(
        *(person.request("PATCH", "/threads/t", change, **{"if-match": tag}) for change in changes)
    )

    assert sorted(answer.status_code for answer in answers) == [200, 412, 412, 412]
    assert await code(person, "DELETE", "/threads/t", **{"if-match": tag}) == (
        412,
        "precondition_failed",
    )
    new = (await person.request("GET", "/threads/t")).headers["etag"]
    weak = await code(person, "PATCH", "/threads/t", {}, **{"if-match": f"W/{new}"})
    assert weak == (412, "precondition_failed")
    either = {"if-match": f'"other", {new}'}
    assert (
        await person.request("PATCH", "/threads/t", {"title": "x"}, **either)
    ).status_code == 200
    assert (await person.request("DELETE", "/threads/t", **{"if-match": "*"})).status_code == 204


async def test_a_change_that_waits_for_another_is_compared_with_the_new_version(
    threads: Library, person: Person
) -> None:
    await create(person)
    tag = (await person.request("GET", "/threads/t")).headers["etag"]
    async with threads.database.owner() as other:
        await other.execute("begin")
        await other.execute("update agent.thread set title = 'theirs'")
        change = asyncio.ensure_future(
            person.request("PATCH", "/threads/t", {"title": "mine"}, **{"if-match": tag})
        )
        async with superuser(threads.database) as watcher:
            await eventually(lambda: watcher.fetchval(_WAITS))
        await other.execute("commit")

    assert (await change).status_code == 412
    assert (await person.request("GET", "/threads/t")).json()["title"] == "theirs"


async def test_a_thread_that_has_not_changed_is_not_sent_again(
    threads: Library, person: Person
) -> None:
    await create(person)
    tag = (await person.request("GET", "/threads/t")).headers["etag"]

    for known in (tag, f"W/{tag}", f'"x", {tag}', "*"):
        same = await person.request("GET", "/threads/t", **{"if-none-match": known})
        assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", tag)
    await threads.begin(person, "t", "r")
    changed = await person.request("GET", "/threads/t", **{"if-none-match": tag})
    assert (changed.status_code, changed.json()["status"]) == (200, "running")


async def test_the_status_of_a_thread_follows_its_runs(threads: Library, person: Person) -> None:
    async def status() -> str:
        return str((await person.request("GET", "/threads/t")).json()["status"])

    leased = await threads.begin(person, "t", "r1")
    assert await status() == "running"
    await threads.db.call(
        "start_run", person.claims, run_request(run="r2", thread="t", busy="enqueue"), None, {}
    )
    question = {"id": str(uuid4()), "reason": "tool_call"}
    ending = {"seq": 2, "count": 1, "type": "run.interrupted", "data": {"interrupts": [question]}}
    assert await append(threads.db, entry(leased, ending)) == ["ok"]
    assert await status() == "queued"
    await threads.db.call("cancel_run", person.claims, "r2", "request")
    assert await status() == "waiting"
    async with threads.database.owner() as owner:
        await owner.execute("update agent.interrupt set expires_at = now() - interval '1 s'")
    assert await status() == "idle"


async def test_a_deleted_thread_is_gone_for_every_reader_and_for_the_agent(
    threads: Library, person: Person
) -> None:
    await threads.talk(person, "t", ("needle", "answer"))
    leased = await threads.begin(person, "t", "live")
    waits = run_request(run="waits", thread="t", busy="enqueue")
    await threads.db.call("start_run", person.claims, waits, None, {})

    assert (await person.request("DELETE", "/threads/t")).status_code == 204

    for path in ("", "/items", "/runs", "/runs/live/log", "/export"):
        assert await code(person, "GET", f"/threads/t{path}") == (404, "thread_not_found"), path
    assert await code(person, "PATCH", "/threads/t", {}) == (404, "thread_not_found")
    assert await code(person, "DELETE", "/threads/t") == (404, "thread_not_found")
    assert await code(person, "POST", "/threads", {"threadId": "t"}) == (410, "thread_deleted")
    assert await names(person, "archived=all") == []
    assert (await person.request("GET", "/search?q=needle")).json()["data"] == []
    exported = (await person.request("GET", "/me/export")).text
    assert {json.loads(line)["type"] for line in exported.splitlines()} == {"audit_event"}
    verdicts = await threads.db.rows("append_events", [entry(leased)])
    assert verdicts[0]["verdict"] == "cancel"
    async with threads.database.owner() as owner:
        assert (
            await owner.fetchval("select status from agent.run where client_run_id = 'waits'")
            == "cancelled"
        )


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"threadId": "a/b"}, "threadId"),
        ({"threadId": ".."}, "threadId"),
        ({"threadId": "x" * 129}, "threadId"),
        ({"title": "x" * 501}, "title"),
        ({"metadata": []}, "metadata"),
        ({"metadata": None}, "metadata"),
        ({"metadata": {"a": "x" * 20_000}}, "metadata"),
        ({"metadata": {"a": [{"b": 1e300}] * 60}}, "metadata"),
        ({"metadata": {"a": 1e-300, "b": [1e-300] * 60}}, "metadata"),
        ({"tittle": "x"}, "tittle"),
    ],
)
async def test_an_invalid_body_is_refused_with_the_place_of_the_error(
    person: Person, body: Json, where: str
) -> None:
    refused = await person.request("POST", "/threads", body)

    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_request")
    assert where in [error["at"] for error in refused.json()["errors"]]


async def test_text_that_postgres_cannot_keep_is_replaced(person: Person) -> None:
    body = {"title": "a\0b\ud800", "metadata": {"\0": "\0"}}
    sent = await person.client.post(
        f"{person.base}/threads",
        content=json.dumps(body),
        headers=person.headers("POST", "/threads"),
    )

    assert sent.status_code == 201, sent.text
    assert (sent.json()["title"], sent.json()["metadata"]) == (
        "a\ufffdb\ufffd",
        {"\ufffd": "\ufffd"},
    )
    assert (await person.request("GET", "/search?q=%00")).json()["data"] == []


#: A moment in a time zone that Postgres does not know: {"at": "2020-01-01T00:00:00+23:59", "id": "0000…"}.
_FAR = (
    "eyJhdCI6IjIwMjAtMDEtMDFUMDA6MDA6MDArMjM6NTkiLCJpZCI6IjAwMDAwMDAw"
    "LTAwMDAtMDAwMC0wMDAwLTAwMDAwMDAwMDAwMCJ9"
)


@pytest.mark.parametrize(
    "cursor", ["x", "e30", "eyJwb3NpdGlvbiI6LTF9", "é", "%00", "eyJhdCI6MH0", _FAR]
)
async def test_a_forged_cursor_is_refused(person: Person, cursor: str) -> None:
    await create(person)

    for path in ("/threads", "/threads/t/items", "/threads/t/runs", "/search"):
        query = f"?after={quote(cursor, safe='%')}" + ("&q=x" if path == "/search" else "")
        assert await code(person, "GET", path + query) == (400, "invalid_cursor"), path
