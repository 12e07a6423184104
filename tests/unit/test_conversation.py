"""A thread as a conversation that every server takes: pairs, arguments, texts and the order of messages."""

from typing import Any

import pytest

from shared.core.items import Item
from shared.models.alternation import alternating
from shared.models.conversation import AssistantMessage, Message, UserMessage, messages_of
from tests.fixtures.items import assistant, call, image, result, thought, user


def conversation(*items: Item, context: str = "") -> list[Message]:
    return alternating(messages_of(items), context)


def shape(messages: list[Message]) -> list[str]:
    """Who speaks, and how many calls a message has."""
    return [
        "user" if isinstance(m, UserMessage) else f"model {len(m.calls)}" if m.calls else "model"
        for m in messages
    ]


def results(*items: Item) -> dict[str, str]:
    """The result of each call, by its key."""
    made = [m for m in conversation(*items) if isinstance(m, AssistantMessage)]
    return {each.key: each.result for message in made for each in message.calls}


def texts(messages: list[Message]) -> list[Any]:
    return [m.text if isinstance(m, AssistantMessage) else m.parts for m in messages]


@pytest.mark.parametrize(
    "broken", ['{"expression": "6*', "[1]", '"x"', "null", "NaN", "", "{'a': 1}"]
)
def test_arguments_are_an_object_and_the_result_says_what_was_wrong(broken: str) -> None:
    items = [user("hi"), call("c1", arguments=broken)]
    made = conversation(*items)[1]

    assert isinstance(made, AssistantMessage)
    assert made.calls[0].arguments == "{}"
    assert made.calls[0].result.startswith("The call was not made")
    assert results(*items, result("c1", "no JSON"))["c1"] == "no JSON"


def test_arguments_that_are_an_object_stay_as_they_are() -> None:
    arguments = '{ "n" : 123456789012345678901234567890, "s": "\\u00e9" }'
    made = conversation(user("hi"), call("c1", arguments=arguments))[1]

    assert isinstance(made, AssistantMessage)
    assert made.calls[0].arguments == arguments


def test_a_call_without_a_result_gets_one() -> None:
    items = [user("hi"), call("c1"), call("c2"), result("c2"), user("more", "v")]

    assert results(*items)["c1"].startswith("No result")
    assert results(*items)["c2"] == "done"
    assert results(user("hi"), call("c1"))["c1"].startswith("No result")


def test_a_result_belongs_to_its_call_wherever_it_is() -> None:
    user_first = [user("hi"), call("c1"), user("never mind", "v"), assistant("ok", "n")]
    sibling_first = [user("hi"), call("c1"), call("c2"), result("c1"), assistant("ok", "n")]

    assert results(*user_first, result("c1"))["c1"] == "done"
    assert results(*sibling_first, result("c2"))["c2"] == "done"


def test_after_a_late_result_the_model_is_requested_to_continue() -> None:
    items = [user("hi"), call("c1"), user("never mind", "v"), assistant("ok", "n"), result("c1")]
    sent = conversation(*items)

    assert shape(sent) == ["user", "model 1", "model", "user", "model", "user"]
    # The next request says the same at the same place.
    assert conversation(*items, assistant("blue!", "o"), user("thanks", "w"))[:6] == sent


@pytest.mark.parametrize(
    ("content", "more", "read"),
    [
        ("", {"error": "no colour"}, "Error: no colour"),
        ("half", {"error": "no colour"}, "Error: no colour\nhalf"),
        ("", {}, "The call returned nothing."),
        (" \n", {}, "The call returned nothing."),
        ([], {"error": ""}, "The call returned nothing."),
        (None, {}, "The call returned nothing."),
        ([image()], {}, "[a image that cannot be shown here]"),
        ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], {}, "a\nb"),
    ],
)
def test_a_result_is_never_blank(content: Any, more: dict[str, Any], read: str) -> None:
    assert results(user("hi"), call("c1"), result("c1", content, **more)) == {"c1": read}


@pytest.mark.parametrize("content", ["", " ", [], [{"type": "text", "text": ""}]])
def test_a_message_of_the_user_is_never_blank(content: Any) -> None:
    assert texts(conversation(user(content))) == [("[This message is empty.]",)]


def test_a_blank_text_of_the_model_is_omitted() -> None:
    items = [user("hi"), assistant(" \n"), call("c1"), result("c1"), user("more", "v")]
    messages = conversation(*items)

    assert texts(messages)[1] == ""
    assert shape(conversation(user("hi"), assistant("\n"), user("more", "v"))) == ["user"]


def test_messages_of_the_user_in_a_row_are_one() -> None:
    messages = conversation(user("one"), user([image()], "v"), user("two", "w"))

    assert shape(messages) == ["user"]
    assert len(texts(messages)[0]) == 3


def test_a_message_of_the_model_follows_results() -> None:
    messages = conversation(user("hi"), call("c1"), result("c1"), user("more", "v"))

    assert shape(messages) == ["user", "model 1", "model", "user"]


def test_the_first_message_is_the_users() -> None:
    assert shape(conversation(assistant("Welcome!"), user("hi"))) == ["user", "model", "user"]
    assert shape(conversation(call("c1"), result("c1"))) == ["user", "model 1"]
    assert shape(conversation()) == ["user"]


def test_calls_of_two_messages_do_not_come_together() -> None:
    items = [call("c1", "m1"), call("c2", "m2"), result("c1"), result("c2")]

    assert shape(conversation(user("hi"), *items)) == ["user", "model 1", "model 1"]


def test_a_text_and_the_calls_of_its_turn_are_one_message() -> None:
    items = [user("hi"), assistant("wait"), thought(), call("c1"), result("c1"), call("c2", "m2")]

    assert shape(conversation(*items)) == ["user", "model 1", "model 1"]
    assert texts(conversation(*items))[1] == "wait"


def test_a_result_without_a_call_is_omitted() -> None:
    assert shape(conversation(user("hi"), result("c9"))) == ["user"]


def test_reasoning_is_kept_with_its_message() -> None:
    items = [
        user("hi"),
        thought("a"),
        thought("b"),
        call("c1"),
        thought("c", "m2"),
        call("c2", "m2"),
    ]
    made = [m for m in conversation(*items) if isinstance(m, AssistantMessage)]

    assert [message.reasoning for message in made] == ["ab", "c"]


def test_the_apps_context_is_part_of_the_users_last_message() -> None:
    items = [user("one"), assistant("ok"), user("two", "v"), call("c1", "n"), result("c1")]
    messages = conversation(*items, context="page: /home")

    assert texts(messages)[2] == ("two", "page: /home")
    assert shape(messages) == ["user", "model", "user", "model 1"]
    assert texts(conversation(context="page"))[0][-1] == "page"
