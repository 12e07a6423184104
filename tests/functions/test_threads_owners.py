"""Two users: on each route, another user's data does not exist."""

import pytest

from shared.core.json import Json
from tests.fixtures.functions import Person
from tests.fixtures.threads import Library

#: Bob's request for Alice's data on every route: path, body, and the status that he gets.
ROUTES: dict[tuple[str, str], tuple[str, Json | None, int]] = {
    ("GET", "/threads"): ("/threads?archived=all&metadata=%7B%22a%22:1%7D", None, 200),
    ("POST", "/threads"): ("/threads", {"threadId": "t"}, 201),
    ("GET", "/threads/{thread_id}"): ("/threads/t", None, 404),
    ("PATCH", "/threads/{thread_id}"): ("/threads/t", {"title": "mine"}, 404),
    ("DELETE", "/threads/{thread_id}"): ("/threads/t", None, 404),
    ("GET", "/threads/{thread_id}/items"): ("/threads/t/items?superseded=true", None, 404),
    ("GET", "/threads/{thread_id}/runs"): ("/threads/t/runs", None, 404),
    ("GET", "/threads/{thread_id}/runs/{run_id}/log"): ("/threads/t/runs/r/log", None, 404),
    ("GET", "/threads/{thread_id}/export"): ("/threads/t/export", None, 404),
    ("GET", "/search"): ("/search?q=secret", None, 200),
    ("GET", "/me/export"): ("/me/export", None, 200),
    ("DELETE", "/me"): ("/me", None, 204),
}


@pytest.fixture
async def alice(threads: Library) -> Person:
    someone = await threads.person()
    body = {"threadId": "t", "title": "secret title", "metadata": {"a": 1}}
    assert (await someone.request("POST", "/threads", body)).status_code == 201
    await threads.end(await threads.begin(someone, "t", "r", "secret question"), "secret answer")
    await threads.db.call("write_note", someone.claims, None, "k", "secret note")
    return someone


async def everything(person: Person) -> str:
    """All that she sees, as text, without the audit of looking at it."""
    paths = ("/threads", "/threads/t", "/threads/t/items", "/threads/t/runs", "/me/export")
    texts = [(await person.request("GET", path)).text for path in paths]
    return "".join(
        line for text in texts for line in text.splitlines() if "user.export" not in line
    )


def test_this_file_requests_every_route(threads: Library) -> None:
    paths = threads.app.openapi()["paths"]
    assert {(m.upper(), path) for path, methods in paths.items() for m in methods} == set(ROUTES)


@pytest.mark.parametrize("route", ROUTES)
async def test_another_users_data_does_not_exist(
    threads: Library, alice: Person, route: tuple[str, str]
) -> None:
    path, body, status = ROUTES[route]
    before = await everything(alice)
    bob = await threads.person()

    answer = await bob.request(route[0], path, body)

    assert answer.status_code == status, answer.text
    assert "secret" not in answer.text
    if status == 404:
        assert answer.json()["code"] == "thread_not_found"
    assert await everything(alice) == before


@pytest.mark.parametrize("route", ROUTES)
async def test_a_caller_without_proof_is_refused(
    threads: Library, alice: Person, route: tuple[str, str]
) -> None:
    path, _, _ = ROUTES[route]
    whole = alice.headers(route[0], path.partition("?")[0])
    for missing in whole:
        headers = {name: value for name, value in whole.items() if name != missing}
        refused = await threads.client.request(route[0], threads.base + path, headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (401, "unauthorized"), missing
    other = {
        **whole,
        **{"x-gateway-assertion": alice.headers("GET", "/elsewhere")["x-gateway-assertion"]},
    }
    refused = await threads.client.request(route[0], threads.base + path, headers=other)
    assert refused.status_code == 401


async def test_two_users_can_use_the_same_ids_and_keys(threads: Library, alice: Person) -> None:
    bob = await threads.person()
    for person in (alice, bob):
        key = {"idempotency-key": "k"}
        made = await person.request(
            "POST", "/threads", {"threadId": "own", "title": person.sub}, **key
        )
        assert made.status_code == 201
        assert (await person.request("GET", "/threads/own")).json()["title"] == person.sub
