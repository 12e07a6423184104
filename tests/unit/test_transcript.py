"""A thread as a model reads it: no call without a result, no result without its call, cut by whole turns."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from shared.agents.transcript import transcript
from shared.core.items import Item
from shared.core.json import Json


def user(text: Any, key: str = "u") -> Item:
    return Item(key, "message", {"role": "user", "content": text})


def said(text: str, key: str = "m") -> Item:
    return Item(key, "message", {"role": "assistant", "content": text})


def call(key: str, message_id: str = "m", provider_id: str | None = None) -> Item:
    data = {"name": "f", "arguments": "{}", "message_id": message_id, "executor": "client"}
    return Item(key, "tool_call", {**data, "provider_id": provider_id})


def result(call_id: str, content: str = "done") -> Item:
    return Item(f"r-{call_id}", "tool_result", {"call_id": call_id, "content": content})


def read(*items: Item, tokens: int = 10_000) -> list[Json]:
    return transcript("be good", (), items, tokens)[1:]


def test_calls_join_the_message_of_their_turn() -> None:
    messages = read(user("hi"), said("wait"), call("c1", provider_id="call_0"), result("c1"))

    assert [m["role"] for m in messages] == ["user", "assistant", "tool"]
    assert messages[1]["content"] == "wait"
    assert messages[1]["tool_calls"][0]["id"] == messages[2]["tool_call_id"] == "call_0"
    assert "message_id" not in messages[1]


def test_a_call_nobody_answered_gets_a_result_before_anything_else_is_said() -> None:
    messages = read(user("hi"), call("c1"), call("c2"), result("c2"), user("go on"))

    assert [m["role"] for m in messages] == ["user", "assistant", "tool", "tool", "user"]
    assert {m["tool_call_id"] for m in messages if m["role"] == "tool"} == {"c1", "c2"}


def test_the_apps_context_is_told_and_reasoning_is_not() -> None:
    thought = Item("t", "reasoning", {"text": "hm", "message_id": "m"})
    context = [{"description": "page", "value": "/home"}]

    messages = transcript("be good", context, [user("hi"), thought], 100)

    assert [m["content"] for m in messages] == [
        "be good",
        "The app gives this context:\npage: /home",
        "hi",
    ]


def test_the_newest_turn_stays_however_long_it_is() -> None:
    messages = read(user("old"), said("a"), user("x" * 10_000), tokens=10)

    assert [m["content"][:1] for m in messages] == ["x"]


items = st.lists(
    st.one_of(
        st.text(max_size=30).map(user),
        st.text(max_size=30).map(said),
        st.integers(0, 5).map(lambda n: call(f"c{n}", message_id=f"m{n % 2}")),
        st.integers(0, 5).map(lambda n: result(f"c{n}")),
    ),
    max_size=30,
)


@given(items, st.integers(0, 200))
def test_every_call_has_one_result_right_behind_it(history: list[Item], tokens: int) -> None:
    # Keys are unique in a thread.
    history = list({(i.kind, i.key if i.kind != "message" else id(i)): i for i in history}.values())
    waiting: list[str] = []
    for message in read(*history, tokens=tokens):
        if message["role"] == "tool":
            waiting.remove(message["tool_call_id"])
            continue
        assert not waiting
        waiting = [made["id"] for made in message.get("tool_calls", ())]
    assert not waiting
