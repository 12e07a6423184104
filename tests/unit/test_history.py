"""A thread as a model gets it: no call without a result, no result without its call, cut by whole exchanges."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from shared.core.items import Item
from shared.models.history import fit_history


def user(text: Any, key: str = "u") -> Item:
    return Item(key, "message", {"role": "user", "content": text})


def assistant(text: str, key: str = "m") -> Item:
    return Item(key, "message", {"role": "assistant", "content": text})


def call(key: str, message_id: str = "m") -> Item:
    data = {"name": "f", "arguments": "{}", "message_id": message_id, "executor": "client"}
    return Item(key, "tool_call", data)


def result(call_id: str, content: str = "done") -> Item:
    return Item(f"r-{call_id}", "tool_result", {"call_id": call_id, "content": content})


def thought() -> Item:
    return Item("t", "reasoning", {"text": "hm", "message_id": "m"})


def fit(*items: Item, tokens: int = 10_000) -> list[Item]:
    return fit_history(items, "be good", (), tokens)


def shape(items: list[Item]) -> list[str]:
    return [item.data.get("call_id") or item.key for item in items]


def test_a_call_without_a_result_gets_one_before_the_next_message() -> None:
    items = fit(user("hi"), call("c1"), call("c2"), result("c2"), user("more", "v"))

    assert shape(items) == ["u", "c1", "c2", "c2", "c1", "v"]
    assert items[4].data["content"].startswith("No result")


def test_the_last_calls_get_results_too() -> None:
    items = fit(user("hi"), call("c1"))

    assert [item.kind for item in items] == ["message", "tool_call", "tool_result"]


def test_calls_of_two_messages_do_not_come_together() -> None:
    items = fit(call("c1", "m1"), call("c2", "m2"), result("c1"), result("c2"))

    # A result that came after a later message moves to its call.
    assert shape(items) == ["c1", "c1", "c2", "c2"]
    assert items[1].data["content"] == "done"


def test_reasoning_is_left_out_and_does_not_separate_a_call_from_its_message() -> None:
    items = fit(user("hi"), assistant("wait"), thought(), call("c1"), result("c1"))

    assert shape(items) == ["u", "m", "c1", "c1"]


def test_the_newest_exchange_stays_however_long_it_is() -> None:
    assert shape(fit(user("old"), assistant("a"), user("x" * 10_000, "v"), tokens=10)) == ["v"]


def test_the_budget_counts_the_characters_that_the_model_gets() -> None:
    old, new = user("x" * 400), user("y" * 400, "v")
    # 832 of two messages, and 23 of the instructions.
    assert shape(fit(old, new, tokens=214)) == ["u", "v"]
    assert shape(fit(old, new, tokens=213)) == ["v"]


def test_the_apps_context_takes_room() -> None:
    context = [{"description": "page", "value": "x" * 1000}]

    assert shape(fit_history([user("a"), user("b", "v")], "", context, 260)) == ["v"]
    assert shape(fit_history([user("a"), user("b", "v")], "", (), 260)) == ["u", "v"]


def test_a_document_that_the_model_does_not_get_takes_no_room() -> None:
    document = {"type": "document", "source": {"type": "data", "value": "x" * 10_000}}
    image = {"type": "image", "source": {"type": "url", "value": "x" * 10_000}}

    assert shape(fit(user([document]), user("b", "v"), tokens=100)) == ["u", "v"]
    assert shape(fit(user([image]), user("b", "v"), tokens=100)) == ["v"]


def test_calls_and_results_take_room() -> None:
    long_call = Item("c1", "tool_call", {**call("c1").data, "arguments": "x" * 400})

    assert shape(fit(user("a"), long_call, result("c1"), user("b", "v"), tokens=100)) == ["v"]
    spoken = [user("a"), call("c1"), result("c1", "x" * 400), user("b", "v")]
    assert shape(fit(*spoken, tokens=100)) == ["v"]


def test_provider_data_takes_room() -> None:
    provider = {"api": "responses", "items": [{"encrypted_content": "x" * 400}]}
    spoken = Item("m", "message", {"role": "assistant", "content": "a", "provider": provider})

    assert shape(fit(user("a"), spoken, user("b", "v"), tokens=100)) == ["v"]
    assert shape(fit(user("a"), assistant("a"), user("b", "v"), tokens=100)) == ["u", "m", "v"]


items = st.lists(
    st.one_of(
        st.text(max_size=30).map(user),
        st.text(max_size=30).map(assistant),
        st.integers(0, 5).map(lambda n: call(f"c{n}", message_id=f"m{n % 2}")),
        st.integers(0, 5).map(lambda n: result(f"c{n}")),
        st.just(thought()),
    ),
    max_size=30,
)


@given(items, st.integers(0, 200))
def test_every_call_has_one_result_right_after_its_message(
    history: list[Item], tokens: int
) -> None:
    # Keys are unique in a thread.
    history = list({(i.kind, i.key if i.kind != "message" else id(i)): i for i in history}.values())
    waiting: list[str] = []
    message_id = None
    for item in fit(*history, tokens=tokens):
        match item.kind:
            case "tool_result":
                waiting.remove(item.data["call_id"])
                message_id = None
            case "tool_call":
                assert not waiting or item.data["message_id"] == message_id
                waiting.append(item.key)
                message_id = item.data["message_id"]
            case _:
                assert not waiting
    assert not waiting


@given(items, st.integers(0, 200))
def test_a_history_that_was_cut_to_fit_is_not_cut_again(history: list[Item], tokens: int) -> None:
    once = fit(*history, tokens=tokens)

    assert fit(*once, tokens=tokens) == once
