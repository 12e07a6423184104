"""Clients that make new ids for the history with each request: known messages are not stored twice."""

from typing import Any
from uuid import uuid4

import pytest

from shared.core.json import Json
from shared.database.pool import Database
from tests.postgres.holders import begin, complete, run_request


def user_message(text: str, key: str = "") -> Json:
    content = {"role": "user", "content": text}
    return {"key": key or str(uuid4()), "kind": "message", "data": content}


def assistant_message() -> Json:
    """As a request carries it: without its text."""
    return {"key": str(uuid4()), "kind": "other", "data": {}}


async def converse(db: Database, user: Json, *texts: str) -> list[str]:
    """Let the user send these texts, one in each run. Returns the keys of the user's messages."""
    requests = [run_request(text, run=f"known-{nth}") for nth, text in enumerate(texts)]
    for request in requests:
        await complete(db, await begin(db, user, request), "answer")
    return [request["messages"][0]["key"] for request in requests]


async def after(db: Database, user: Json, *messages: Json, **more: Any) -> list[str]:
    """The texts of the user's messages in the thread once a run has brought these."""
    leased = await begin(db, user, run_request(run="run-new", messages=list(messages), **more))
    data = [item["data"] for item in leased["items"]]
    return [each["content"] for each in data if each.get("role") == "user"]


@pytest.mark.parametrize("shows_answers", [True, False])
async def test_a_history_with_new_ids_is_stored_once(
    db: Database, user: Json, shows_answers: bool
) -> None:
    await converse(db, user, "one", "two")
    answers = [assistant_message()] if shows_answers else []

    history = [user_message("one"), *answers, user_message("two"), *answers]
    assert await after(db, user, *history, user_message("three")) == ["one", "two", "three"]


async def test_a_repeated_text_at_the_end_is_a_new_message(db: Database, user: Json) -> None:
    await converse(db, user, "yes", "yes")

    assert await after(db, user, user_message("yes")) == ["yes", "yes", "yes"]


async def test_a_repeated_text_after_a_history_with_new_ids_is_a_new_message(
    db: Database, user: Json
) -> None:
    await converse(db, user, "yes")

    assert await after(db, user, user_message("yes"), user_message("yes")) == ["yes", "yes"]


async def test_several_new_messages_after_a_history_with_new_ids_are_all_new(
    db: Database, user: Json
) -> None:
    await converse(db, user, "one")

    messages = [user_message(text) for text in ("one", "two", "three")]
    assert await after(db, user, *messages) == ["one", "two", "three"]


async def test_a_message_at_another_place_is_new_even_if_its_text_is_known(
    db: Database, user: Json
) -> None:
    await converse(db, user, "one", "two")

    messages = [user_message("two"), user_message("three")]
    assert await after(db, user, *messages) == ["one", "two", "two", "three"]


async def test_new_ids_after_known_ones_are_aligned_too(db: Database, user: Json) -> None:
    first, _ = await converse(db, user, "one", "two")

    messages = [user_message("one", first), user_message("two"), user_message("three")]
    assert await after(db, user, *messages) == ["one", "two", "three"]


async def test_an_edit_of_a_message_with_a_known_id_still_rewinds(db: Database, user: Json) -> None:
    _, second, _ = await converse(db, user, "one", "two", "three")

    messages = [user_message("one"), assistant_message(), user_message("two, better", second)]
    assert await after(db, user, *messages) == ["one", "two, better"]


async def test_a_history_that_ends_in_a_known_id_still_regenerates(
    db: Database, user: Json
) -> None:
    _, second, _ = await converse(db, user, "one", "two", "three")

    assert await after(db, user, user_message("one"), user_message("two", second)) == ["one", "two"]


async def test_rewind_to_still_names_the_parent_of_a_message(db: Database, user: Json) -> None:
    first, _ = await converse(db, user, "one", "two")

    messages = [user_message("one"), user_message("instead")]
    assert await after(db, user, *messages, rewind_to=first) == ["one", "instead"]
