"""The contents of a thread: pages of items in both directions, runs, and the log of a run."""

import json
from uuid import uuid4

import pytest

from shared.core.json import Json
from tests.fixtures.functions import Person
from tests.fixtures.threads import Library
from tests.postgres.holders import run_request


@pytest.fixture
async def person(threads: Library) -> Person:
    """A user whose thread `t` has the items q0, a0, q1, a1, q2, a2."""
    someone = await threads.person()
    await threads.talk(someone, "t", *((f"q{n}", f"a{n}") for n in range(3)))
    return someone


async def page(person: Person, query: str = "", thread: str = "t") -> Json:
    answer = await person.request("GET", f"/threads/{thread}/items?{query}")
    assert answer.status_code == 200, answer.text
    return answer.json()  # type: ignore[no-any-return]


def texts(page: Json) -> list[str]:
    return [item["data"]["content"] for item in page["data"]]


async def test_items_are_in_the_order_of_the_conversation(person: Person) -> None:
    whole = await page(person)

    assert texts(whole) == ["q0", "a0", "q1", "a1", "q2", "a2"]
    assert (whole["next"], whole["previous"]) == (None, None)
    question = whole["data"][0]
    assert (question["kind"], question["data"]["role"], question["supersededAt"]) == (
        "message",
        "user",
        None,
    )
    assert question["id"] == f"message-of-{question['runId']}"


@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_pages_continue_in_both_directions(person: Person, order: str) -> None:
    whole = texts(await page(person, f"order={order}"))
    first = await page(person, f"order={order}&limit=2")
    second = await page(person, f"order={order}&limit=2&after={first['next']}")
    third = await page(person, f"order={order}&limit=2&after={second['next']}")

    assert [texts(first), texts(second), texts(third)] == [whole[:2], whole[2:4], whole[4:]]
    assert (first["previous"], third["next"]) == (None, None)
    back = await page(person, f"order={order}&limit=2&before={third['previous']}")
    assert back == second
    assert await page(person, f"order={order}&limit=2&before={back['previous']}") == first
    assert (
        texts(await page(person, f"order={order}&limit=1&before={third['previous']}")) == whole[3:4]
    )


async def test_superseded_items_are_shown_on_request(threads: Library, person: Person) -> None:
    edit = run_request("other", run="edit", thread="t")
    runs = (await person.request("GET", "/threads/t/runs")).json()["data"]
    edit["messages"][0]["key"] = f"message-of-{runs[0]['runId']}"
    leased = await threads.db.call(
        "start_run",
        person.claims,
        edit,
        {"seconds": 30, "max_unfinished_attempts": 3, "history": 9},
        {},
    )
    assert leased["outcome"] == "leased"

    assert texts(await page(person)) == ["q0", "a0", "q1", "a1", "other"]
    everything = await page(person, "superseded=true")
    assert texts(everything) == ["q0", "a0", "q1", "a1", "q2", "a2", "other"]
    assert [bool(item["supersededAt"]) for item in everything["data"]] == [False] * 4 + [
        True
    ] * 2 + [False]
    assert texts(await page(person, "superseded=true&order=desc&limit=2")) == ["other", "a2"]


async def test_a_page_after_the_last_item_is_empty(threads: Library, person: Person) -> None:
    last = await page(person, "limit=1&order=desc")
    await threads.talk(person, "u", ("of another thread",))
    end = await page(person, f"before={last['next']}&order=desc&limit=5")

    assert texts(end) == [] or texts(end) == ["a2"]
    await person.request("POST", "/threads", {"threadId": "empty"})
    assert await page(person, thread="empty") == {"data": [], "next": None, "previous": None}


async def test_runs_are_newest_first_with_what_they_used_and_ended_with(
    threads: Library, person: Person
) -> None:
    live = await threads.begin(person, "t", "r9")
    first = (await person.request("GET", "/threads/t/runs?limit=1")).json()
    assert [(run["runId"], run["status"], run["endedAt"]) for run in first["data"]] == [
        ("r9", "in_progress", None)
    ]
    await threads.end(live, "x", usage={"input_tokens": 3}, pending_calls=["c"])

    runs, cursor = [], first["next"]
    while cursor:
        got = (await person.request("GET", f"/threads/t/runs?limit=2&after={cursor}")).json()
        runs += got["data"]
        cursor = got["next"]
    assert [run["status"] for run in runs] == ["completed"] * 3
    assert [run["createdAt"] for run in runs] == sorted(
        (r["createdAt"] for r in runs), reverse=True
    )
    newest = (await person.request("GET", "/threads/t/runs?limit=1")).json()["data"][0]
    assert (newest["usage"], newest["ending"]) == ({"input_tokens": 3}, {"pending_calls": ["c"]})


async def test_a_log_is_read_in_pages_without_what_tools_keep_for_themselves(
    threads: Library, person: Person
) -> None:
    leased = await threads.begin(person, "u", "r")
    question = {"id": str(uuid4()), "reason": "input_required", "state": "of the tool"}
    await threads.end(leased, "one", interrupts=[question])

    rows, after = [], 0
    while after is not None:
        got = (await person.request("GET", f"/threads/u/runs/r/log?limit=2&after={after}")).json()
        rows += got["data"]
        after = got["next"]
    assert [(row["seq"], row["type"]) for row in rows] == [
        (1, "run.started"),
        (2, "item.started"),
        (3, "item.delta"),
        (4, "item.completed"),
        (5, "run.completed"),
    ]
    assert rows[1]["itemId"] == rows[3]["itemId"]
    assert "of the tool" not in json.dumps(rows)
    assert "of the tool" not in (await person.request("GET", "/threads/u/runs")).text
    for thread, run in (("t", "r"), ("u", "none")):
        gone = await person.request("GET", f"/threads/{thread}/runs/{run}/log")
        assert (gone.status_code, gone.json()["code"]) == (404, "run_not_found")


#: A row that is as large as a message may well be, and more of them than a process can hold many pages of.
_LARGE = """
insert into agent.item (thread_id, owner, key, kind, data)
select id, owner, 'large-' || n, 'message', jsonb_build_object('role', 'user', 'content', repeat('x', 3000000) || n)
  from agent.thread, generate_series(1, 5) n
"""


@pytest.mark.parametrize(
    "query", ["", "superseded=true", "order=desc", "order=desc&superseded=true"]
)
async def test_a_page_of_large_items_is_shorter_and_nothing_is_passed_over(
    threads: Library, person: Person, query: str
) -> None:
    async with threads.database.owner() as owner:
        await owner.execute(_LARGE)

    there, back, query = [], [], f"{query}&limit=200"
    shown = await page(person, query)
    while True:
        assert sum(len(text) for text in texts(shown)) < 8_000_000
        there += [item["id"] for item in shown["data"]]
        if shown["next"] is None:
            break
        shown = await page(person, f"{query}&after={shown['next']}")
    back = [item["id"] for item in shown["data"]]
    while shown["previous"]:
        shown = await page(person, f"{query}&before={shown['previous']}")
        back = [*(item["id"] for item in shown["data"]), *back]

    large = [f"large-{n}" for n in range(1, 6)]
    assert [id_ for id_ in there if "large" in id_] == (large[::-1] if "desc" in query else large)
    assert len(there) == 11
    assert back == there
