"""What is cut from a conversation that is longer than the model's context, and what stays."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.items import Item
from shared.models.conversation import AssistantMessage, Message, UserMessage
from shared.models.cutting import OLD_IMAGE, clip, message_tokens
from shared.models.history import conversation, shortened
from shared.models.requests import ModelRequest, ModelSettings, ToolSpecification
from shared.models.sizes import text_tokens
from tests.fixtures.items import assistant, call, image, inline_image, request, result, user

CHINESE = "数据库是用来存储和管理数据的计算机系统"


def texts(messages: list[Message]) -> list[str]:
    return [
        m.text
        if isinstance(m, AssistantMessage)
        else "\n".join(p for p in m.parts if isinstance(p, str))
        for m in messages
    ]


def exchanges(count: int, *, size: int = 400, first: int = 0) -> list[Item]:
    """Exchanges of about `size` characters."""
    half = "x" * (size // 2)
    return [
        item
        for n in range(first, first + count)
        for item in (user(f"q{n} {half}", f"u{n}"), assistant(f"a{n} {half}", f"m{n}"))
    ]


def test_what_fits_is_not_cut() -> None:
    items = [*exchanges(10), user("and now?", "last")]

    assert len(conversation(request(*items))) == 21


def test_a_full_conversation_is_cut_to_three_fifths_at_once() -> None:
    lengths = [
        len(conversation(request(*exchanges(n), user("?", "last"), context_tokens=4000)))
        for n in range(1, 60)
    ]
    falls = [(before, after) for before, after in pairwise(lengths) if after < before]

    assert len(falls) >= 2
    assert all(0.5 < after / before < 0.7 for before, after in falls)


def test_a_later_request_begins_like_the_one_before_except_after_a_cut() -> None:
    sent = [
        conversation(request(*exchanges(n), user(f"?{n}", "last"), context_tokens=4000))
        for n in range(1, 60)
    ]
    alike = [before[:-1] == after[: len(before) - 1] for before, after in pairwise(sent)]

    assert alike.count(False) == sum(len(b) < len(a) for a, b in pairwise(sent))


def test_seven_long_chinese_messages_do_not_fit_into_128k() -> None:
    long = CHINESE * (21_000 // len(CHINESE))
    items = [item for n in range(7) for item in (user(long, f"u{n}"), assistant("好", f"m{n}"))]
    sent = conversation(request(*items[:-1], context_tokens=128_000))

    assert 1 <= len(sent) < 13
    # 0.83 tokens per character in the tokenizer before the current one.
    assert sum(len(text) for text in texts(sent)) * 0.83 < 128_000


def test_tools_instructions_context_and_the_response_take_room() -> None:
    items = [*exchanges(20), user("?", "last")]
    tool = ToolSpecification("look", "Looks. " * 400, {"type": "object"})

    def count(**more: Any) -> int:
        return len(conversation(request(*items, context_tokens=5500, **more)))

    assert count(tools=[tool]) < count()
    assert count(instructions="Be good. " * 400) < count()
    assert count(context=[{"description": "page", "value": "long " * 1200}]) < count()
    assert count(settings=ModelSettings(max_output_tokens=1000)) < count()


def test_the_room_does_not_follow_small_changes_of_the_context() -> None:
    def sent(page: str) -> list[Message]:
        context = [{"description": "page", "value": page}]
        return conversation(
            request(*exchanges(40), user("?", "last"), context=context, context_tokens=4000)
        )

    assert sent("/home")[:-1] == sent("/orders/of/this/year")[:-1]


def test_an_image_costs_the_same_whatever_its_bytes() -> None:
    items = [*exchanges(20), user([inline_image(450_000)], "last")]

    assert len(conversation(request(*items))) == 41
    assert len(conversation(request(*items, assistant("Nice."), user("?", "v")))) == 43


def test_old_images_are_replaced_only_when_history_is_cut() -> None:
    items = [user([image(), image()], "first"), assistant("Nice."), *exchanges(4)]
    before = conversation(request(*items, user("?", "last"), context_tokens=6000))
    more = exchanges(8, first=4)
    after = conversation(request(*items, *more, user("?", "last"), context_tokens=6000))

    assert isinstance(before[0], UserMessage)
    assert OLD_IMAGE not in before[0].parts
    # The images were enough: no message is missing.
    assert after[0] == UserMessage((OLD_IMAGE, OLD_IMAGE))
    assert len(after) == len(before) + 16


def test_the_images_of_the_last_message_stay_as_far_as_they_fit() -> None:
    parts = [image(f"https://example.com/{n}.png") for n in range(4)]
    (sent,) = conversation(request(user(parts), context_tokens=5000))

    assert isinstance(sent, UserMessage)
    shown = [part for part in sent.parts if not isinstance(part, str)]
    assert [each.url for each in shown] == [f"https://example.com/{n}.png" for n in (2, 3)]


def test_a_long_exchange_loses_its_oldest_messages_and_keeps_the_users() -> None:
    turns = [
        item
        for n in range(30)
        for item in (call(f"c{n}", f"m{n}"), result(f"c{n}", f"{n} " + "x" * 400))
    ]
    sent = conversation(request(user("Do it all."), *turns, context_tokens=4000))

    assert texts(sent)[0] == "Do it all."
    last = sent[-1]
    assert isinstance(last, AssistantMessage)
    assert last.calls[0].result.startswith("29 ")
    assert len(sent) < 25


def test_a_message_that_does_not_fit_alone_is_clipped() -> None:
    (sent,) = texts(
        conversation(request(user("BEGIN " + CHINESE * 5000 + " END"), context_tokens=4000))
    )

    assert sent.startswith("BEGIN ")
    assert sent.endswith(" END")
    assert "characters are left out here" in sent
    assert text_tokens(sent) < 4000


def test_a_result_that_does_not_fit_is_clipped_and_its_arguments_stay_an_object() -> None:
    arguments = '{"text": "' + "word " * 20_000 + '"}'
    items = [user("hi"), call("c1", arguments=arguments), result("c1", "row " * 20_000)]
    made = conversation(request(*items, context_tokens=4000))[1]

    assert isinstance(made, AssistantMessage)
    assert made.calls[0].arguments == "{}"
    assert "left out" in made.calls[0].result


def test_provider_data_takes_room() -> None:
    provider = {"api": "responses", "items": [{"encrypted_content": "x" * 400}]}
    plain, sealed = assistant("a"), assistant("a", provider=provider)

    def size(item: Item) -> int:
        return message_tokens(conversation(request(user("hi"), item, user("v", "v")))[1])

    assert size(sealed) > size(plain) + 100


@given(st.text(max_size=400), st.integers(20, 200))
def test_a_clipped_text_is_shorter(text: str, longest: int) -> None:
    clipped = clip(text, longest)

    assert clipped == text if text_tokens(text) <= longest else len(clipped) < len(text) + 60


def test_a_request_is_shortened_until_its_conversation_gets_shorter() -> None:
    whole = request(*exchanges(60), user("?", "last"), context_tokens=128_000)
    shorter = shortened(whole)

    assert shorter is not None
    assert shorter.context_tokens in (8000, 4000)
    assert len(conversation(shorter)) < len(conversation(whole))


def test_a_request_is_not_shortened_below_what_a_model_can_use() -> None:
    tries = []
    shorter: ModelRequest | None = request(*exchanges(60), user("?", "last"), context_tokens=4000)
    while shorter := shortened(shorter) if shorter else None:
        tries.append(shorter.context_tokens)

    assert tries == [2000, 1000]


@pytest.mark.parametrize("tokens", [256, 300, 512, 1000])
def test_even_a_tiny_context_gets_the_users_message(tokens: int) -> None:
    sent = conversation(request(*exchanges(9), user("What is it?", "last"), context_tokens=tokens))

    assert texts(sent)[-1] == "What is it?"
