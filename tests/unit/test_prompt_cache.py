"""Providers cache the beginning that requests have in common: how much of each request of a long thread that is.

A simulation of 160 turns with a context of 128,000 tokens. The thread is longer than the context from about the middle
on, and then loses its oldest messages.
"""

import random
from collections.abc import Iterator, Sequence
from itertools import pairwise, takewhile

import orjson
import pytest

from shared.core.items import Item
from shared.core.json import Json
from shared.models.chat_completions import ChatCompletions
from shared.models.history import conversation
from shared.models.openai import Api
from shared.models.responses import Responses
from shared.runs.history import HISTORY_ITEMS, with_steady_start
from tests.fixtures.agents import leased
from tests.fixtures.items import assistant, call, inline_image, request, result, user

TURNS = 160
FLOOR = 0.9


def prose(seed: int, words: int) -> str:
    """English as long as these words, another one for each seed."""
    chosen = random.Random(seed)  # noqa: S311  # no secret
    return " ".join(
        chosen.choice(("order", "number", "shipped", "Monday", "customer", "is", "the", "of"))
        for _ in range(words)
    )


def thread(*, with_images: bool) -> Iterator[list[Item]]:
    """The items of the thread at each request."""
    items: list[Item] = []
    for n in range(TURNS):
        text = {"type": "text", "text": prose(n, 60)}
        # As many bytes as an image has tokens in characters, so that shares of bytes are shares of tokens.
        shown = [{**inline_image(6400)}] if with_images and n % 4 == 0 else []
        items.append(user([text, *shown], f"u{n}"))
        yield items
        if n % 3 == 0:
            items += [call(f"c{n}", f"m{n}"), result(f"c{n}", prose(-n, 200))]
            yield items
        items.append(assistant(prose(1000 + n, 600), f"n{n}"))


def shares(api: Api, *, changes_context: bool, with_images: bool) -> tuple[float, float]:
    """The mean share of a request that equals the one before: before the first cut, and from then on."""
    whole: list[float] = []
    cut: list[float] = []
    previous: list[bytes] = []
    for items in thread(with_images=with_images):
        turn = sum(item.data.get("role") == "user" for item in items)
        page = f"/orders/{turn}" if changes_context else "/orders"
        wanted = request(
            *items, context=[{"description": "page", "value": page}], context_tokens=128_000
        )
        is_whole = conversation(wanted)[0].parts[0].startswith(prose(0, 60))  # type: ignore[union-attr]
        sent = entries(api.body(wanted, "fake-1"))
        (whole if is_whole and not cut else cut).append(common(previous, sent))
        previous = sent
    return sum(whole) / len(whole), sum(cut) / len(cut)


def entries(body: Json) -> list[bytes]:
    """What a body has in the order in which a model reads it."""
    first = [body["instructions"]] if "instructions" in body else []
    return [orjson.dumps(each) for each in [*first, *(body.get("messages") or body["input"])]]


def common(previous: Sequence[bytes], sent: Sequence[bytes]) -> float:
    """The share of a request that it has in common with the beginning of the one before."""
    size = 0
    for before, now in zip(previous, sent, strict=False):
        if before != now:
            # The end of JSON is not what the model reads.
            size += sum(
                1
                for _ in takewhile(lambda both: both[0] == both[1], zip(before, now, strict=False))
            )
            break
        size += len(now)
    return size / sum(map(len, sent))


@pytest.mark.parametrize("with_images", [False, True], ids=["texts", "images"])
@pytest.mark.parametrize("changes_context", [False, True], ids=["same context", "new context"])
@pytest.mark.parametrize("api", [ChatCompletions(), Responses("")], ids=["chat", "responses"])
def test_nine_tenths_of_a_request_equal_the_one_before(
    api: Api, changes_context: bool, with_images: bool
) -> None:
    whole, cut = shares(api, changes_context=changes_context, with_images=with_images)

    assert whole >= FLOOR
    assert cut >= FLOOR


def test_a_thread_with_more_items_than_a_run_gets_begins_alike_in_most_runs() -> None:
    items = [
        each
        for n in range(3000)
        for each in (user("hi", f"key-{n}"), assistant("yes", f"answer-{n}"))
    ]
    newest = (items[max(0, end - HISTORY_ITEMS) : end] for end in range(1, len(items), 2))
    starts = [with_steady_start(window)[0].key for window in newest]

    changes = sum(before != after for before, after in pairwise(starts))
    assert changes / len(starts) < 0.02


def test_a_thread_that_a_run_gets_whole_begins_with_its_first_item() -> None:
    items = [user("hi", f"u{n}") for n in range(HISTORY_ITEMS - 1)]

    assert with_steady_start(items) == items


def test_a_thread_without_a_message_of_the_user_is_kept() -> None:
    items = [assistant("yes", f"m{n}") for n in range(HISTORY_ITEMS)]

    assert with_steady_start(items) == items


def test_the_key_of_a_thread_is_the_same_in_all_its_runs_and_names_nobody() -> None:
    alice = {"claims": {"sub": "alice"}, "client_thread_id": "holiday"}
    key = leased([], **alice).cache_key

    assert key == leased([], **alice, run_id="other", client_run_id="run-2").cache_key
    assert key != leased([], **{**alice, "client_thread_id": "work"}).cache_key
    assert key != leased([], **{**alice, "claims": {"sub": "bob"}}).cache_key
    assert "alice" not in key
    assert "holiday" not in key
    # OpenAI takes 64 characters.
    assert len(key) <= 64
