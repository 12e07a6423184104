"""Search finds a user's titles and messages, newest first, with the places of the matches."""

import json

import pytest

from shared.core.json import Json
from tests.fixtures.functions import Person
from tests.fixtures.threads import Library


@pytest.fixture
async def person(threads: Library) -> Person:
    return await threads.person()


async def hits(person: Person, words: str, limit: int = 20) -> list[Json]:
    answer = await person.client.get(
        f"{person.base}/search",
        params={"q": words, "limit": limit},
        headers=person.headers("GET", "/search"),
    )
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]  # type: ignore[no-any-return]


def shown(hit: Json) -> str:
    return "".join(
        f"[{part['text']}]" if part["match"] else part["text"] for part in hit["snippet"]
    )


async def test_hits_in_messages_and_titles_show_the_match(threads: Library, person: Person) -> None:
    await threads.talk(person, "a", ("Where is Lisbon?", "Lisbon is in Portugal."))
    await threads.talk(person, "b", ("And Porto?", "In Portugal too."))
    await person.request("PATCH", "/threads/b", {"title": "Not Lisbon"})

    found = await hits(person, "lisbon")

    assert [(hit["thread"]["threadId"], shown(hit)) for hit in found] == [
        ("b", "Not [Lisbon]"),
        ("a", "[Lisbon] is in Portugal."),
        ("a", "Where is [Lisbon]?"),
    ]
    assert [hit["itemId"] is None for hit in found] == [True, False, False]
    assert found[0]["thread"] == (await person.request("GET", "/threads/b")).json()
    items = (await person.request("GET", "/threads/a/items")).json()["data"]
    assert {hit["itemId"] for hit in found[1:]} == {item["id"] for item in items}


@pytest.mark.parametrize(
    ("words", "count"),
    [
        ("portugal", 2),
        ("PORTUGAL too", 1),
        ("lisbon or porto", 3),
        ('"is in"', 1),
        ('"in is"', 0),
        ("portugal -lisbon", 1),
        ("lisb", 0),
        ("!!!", 0),
        ("-lisbon -porto -portugal", 0),
        ("'); drop", 0),
        ("-" * 200, 0),
        ("portugal " + "- " * 90, 2),
    ],
)
async def test_a_hit_has_all_words_unless_the_query_says_otherwise(
    threads: Library, person: Person, words: str, count: int
) -> None:
    await threads.talk(person, "a", ("Where is Lisbon?", "Lisbon is in Portugal."))
    await threads.talk(person, "b", ("And Porto?", "In Portugal too."))

    assert len(await hits(person, words)) == count


async def test_hits_continue_after_a_cursor_from_titles_to_messages(
    threads: Library, person: Person
) -> None:
    for number in range(3):
        await threads.talk(person, f"t{number}", (f"word {number}",))
        await person.request("PATCH", f"/threads/t{number}", {"title": f"word title {number}"})

    seen, cursor = [], ""
    for _ in range(4):
        found = (await person.request("GET", f"/search?q=word&limit=2{cursor}")).json()
        seen += [shown(hit) for hit in found["data"]]
        if found["next"] is None:
            break
        cursor = f"&after={found['next']}"
    assert seen == [f"[word] title {n}" for n in (2, 1, 0)] + [f"[word] {n}" for n in (2, 1, 0)]


async def test_parts_of_a_message_are_found_and_no_markup_is_made(
    threads: Library, person: Person
) -> None:
    leased = await threads.begin(person, "t", "r")
    parts = [
        {"type": "text", "text": "one\nnewline <b>bold</b> \ue000marked\ue001"},
        {"type": "image", "url": "secret"},
    ]
    async with threads.database.owner() as owner:
        await owner.execute(
            "insert into agent.item (thread_id, owner, key, kind, data) select id, owner, 'p', 'message', $1"
            " from agent.thread",
            json.dumps({"role": "user", "content": parts}),
        )
    await threads.end(leased)

    (hit,) = await hits(person, "newline")
    assert [part["text"] for part in hit["snippet"] if part["match"]] == ["newline"]
    assert await hits(person, "secret") == []
    assert len(await hits(person, "marked")) == 1


async def test_of_a_long_message_the_places_of_the_matches_are_shown(
    threads: Library, person: Person
) -> None:
    filler = " ".join(f"filler{n}" for n in range(200))
    await threads.talk(person, "t", (f"{filler} needle {filler} other {filler}",))

    (hit,) = await hits(person, "needle other")

    assert [part["text"] for part in hit["snippet"] if part["match"]] == ["needle", "other"]
    assert len(shown(hit)) < 600


async def test_a_message_too_large_for_the_index_is_stored(
    threads: Library, person: Person
) -> None:
    words = " ".join(f"word{n}é" for n in range(250_000))

    await threads.talk(person, "t", (words, "small"))

    assert await hits(person, "word7é") == []
    assert len(await hits(person, "small")) == 1


async def test_superseded_messages_are_not_found(threads: Library, person: Person) -> None:
    await threads.talk(person, "t", ("needle",))
    async with threads.database.owner() as owner:
        await owner.execute("update agent.item set superseded_at = now()")

    assert await hits(person, "needle") == []


async def test_deleted_threads_take_no_place_on_a_page(threads: Library, person: Person) -> None:
    await threads.talk(person, "kept", ("needle 1",), ("needle 2",))
    await threads.talk(person, "gone", *((f"needle {n}",) for n in range(3, 6)))
    await person.request("DELETE", "/threads/gone")

    assert [shown(hit) for hit in await hits(person, "needle", limit=2)] == [
        "[needle] 2",
        "[needle] 1",
    ]


@pytest.mark.parametrize("content", ['[{"type": "image", "url": "x"}]', "[]", "null", "7"])
async def test_a_message_without_text_matches_a_query_of_excluded_words(
    threads: Library, person: Person, content: str
) -> None:
    await threads.talk(person, "t", ("word",))
    async with threads.database.owner() as owner:
        await owner.execute(
            "insert into agent.item (thread_id, owner, key, kind, data) select id, owner, 'p', 'message', $1"
            " from agent.thread",
            f'{{"role": "user", "content": {content}}}',
        )

    assert [hit["snippet"] for hit in await hits(person, "-word")] == [[]]


async def test_a_match_far_into_a_message_is_found_without_an_excerpt(
    threads: Library, person: Person
) -> None:
    filler = "word " * 2000
    await threads.talk(person, "t", (f"early {filler} late",))

    for words, matches in (("early", ["early"]), ("late", [])):
        (hit,) = await hits(person, words)
        assert [part["text"] for part in hit["snippet"] if part["match"]] == matches
        assert shown(hit).replace("[", "").startswith("early")
