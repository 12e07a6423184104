"""Whatever is in a thread, the request is one that no server refuses: the rules of six servers, over both APIs."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.core.items import Item
from shared.core.json import Json
from shared.models.call_ids import call_ids
from shared.models.chat_completions import ChatCompletions
from shared.models.conversation import messages_of
from shared.models.offers import offer
from shared.models.openai import Api
from shared.models.requests import without_provider_data
from shared.models.responses import Responses
from tests.fixtures.items import (
    assistant,
    call,
    image,
    inline_image,
    request,
    result,
    thought,
    user,
)
from tests.fixtures.provider_rules import EVERY, RULES, chat_messages, faults

HERE = "https://models.example.com/v1"
APIS: list[Api] = [ChatCompletions(HERE), Responses(HERE)]
IDS = ["chat_completions", "responses"]
CHAT = {"api": "chat_completions", "base_url": HERE}

_texts = st.text(max_size=12) | st.sampled_from(["", " ", "\n", "hi", "数据库", "\x1f", "é" * 9])
_parts = st.lists(
    st.one_of(
        _texts.map(lambda text: {"type": "text", "text": text}),
        st.just(image()),
        st.just(inline_image(40)),
        st.sampled_from([{"type": "audio"}, {"type": "text"}, {}, {"type": "image", "source": 7}]),
    ),
    max_size=3,
)
_contents = _texts | _parts
_arguments = st.sampled_from(
    [
        "{}",
        '{"a": 1}',
        '{"a": ',
        "[1]",
        "null",
        '"x"',
        "",
        " ",
        "{'a': 1}",
        '{"a": NaN}',
        '{"n": 1e999}',
    ]
)
_names = st.sampled_from(["look", "multi_tool_use.parallel", "ui confirm", "x" * 100, "天気"])
_origins: st.SearchStrategy[Json] = st.sampled_from(
    [{}, {"provider": {"api": "chat_completions"}}, {"provider": {"api": "responses", "items": []}}]
)
_ids: st.SearchStrategy[Json] = st.sampled_from(
    [{}, *({"provider_id": each} for each in ("call_0", "calculator:0", "x" * 60, "abcDEF123"))]
)
_calls = st.builds(
    lambda n, name, arguments, origin, ids: call(
        f"c{n}", f"m{n % 3}", name=name, arguments=arguments, **origin, **ids
    ),
    st.integers(0, 6),
    _names,
    _arguments,
    _origins,
    _ids,
)
_items = st.lists(
    st.one_of(
        _contents.map(user),
        st.builds(lambda text, n: assistant(text, f"m{n}"), _texts, st.integers(0, 3)),
        _calls,
        st.builds(
            lambda n, content, more: result(f"c{n}", content, **more),
            st.integers(0, 6),
            _contents | st.none(),
            st.sampled_from([{}, {"error": ""}, {"error": "no colour"}, {"status": "error"}]),
        ),
        st.builds(thought, _texts, st.integers(0, 3).map(lambda n: f"m{n}")),
    ),
    max_size=24,
)


def unique(items: Sequence[Item]) -> list[Item]:
    """The items with keys that are unique, as in a thread."""
    first: dict[tuple[str, str], Item] = {}
    for n, item in enumerate(items):
        is_users = item.kind == "message" and item.data["role"] == "user"
        first.setdefault((item.kind, f"u{n}" if is_users else item.key), item)
    return [Item(key, item.kind, item.data) for (_, key), item in first.items()]


@pytest.mark.parametrize("api", APIS, ids=IDS)
@given(_items, st.sampled_from([256, 600, 2000, 100_000]), st.booleans())
@example([user("hi"), call("c1", arguments='{"expression": "6*')], 100_000, False)
@example([user("hi"), user("again")], 100_000, True)
def test_every_request_is_valid_for_every_server(
    api: Api, items: list[Item], tokens: int, has_context: bool
) -> None:
    context = [{"description": "page", "value": "/home"}] if has_context else []
    whole = request(*unique(items), context=context, context_tokens=tokens)
    body = api.body(offer(whole, 128).request, "fake-1")

    for server in EVERY:
        assert faults(chat_messages(body), server) == []


@pytest.mark.parametrize("api", APIS, ids=IDS)
def test_the_ids_of_other_servers_and_repeated_ones_are_replaced(api: Api) -> None:
    own = {"provider": {**CHAT, "api": IDS[APIS.index(api)]}}
    twice: Json = {"provider_id": "calculator:0", **own}
    items = [
        user("hi"),
        call("c1", **twice),
        call("c2", **twice),
        call("c3", provider_id="call_abc", provider={"api": "chat_completions"}),
        call("c4", provider_id="call_old"),
    ]
    messages = chat_messages(api.body(request(*items), "fake-1"))
    ids = [each["id"] for each in messages[2]["tool_calls"]]

    assert ids[0] == "calculator:0"
    assert all(len(each) == 9 and each.isalnum() for each in ids[1:])
    assert len(set(ids)) == 4
    assert [message["tool_call_id"] for message in messages[3:]] == ids


def test_an_id_does_not_depend_on_the_calls_around_it() -> None:
    alone, more = [call("c2")], [call("c1"), call("c2"), call("c3")]

    assert call_ids(messages_of(alone), CHAT)["c2"] == call_ids(messages_of(more), CHAT)["c2"]


def test_without_provider_data_every_id_is_ours() -> None:
    own = call("c1", provider_id="bad id", provider=CHAT)
    bare = without_provider_data(request(user("hi"), own))

    assert faults(chat_messages(APIS[0].body(bare, "fake-1")), "Mistral") == []


def _broken(index: int, **changes: Any) -> list[Json]:
    """A valid conversation with other members in one message."""
    made = {"id": "abcdefgh1", "function": {"name": "look", "arguments": "{}"}}
    messages: list[Json] = [
        {"role": "system", "content": "be good"},
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": None, "tool_calls": [made]},
        {"role": "tool", "tool_call_id": "abcdefgh1", "content": "done"},
        {"role": "assistant", "content": "ok"},
        {"role": "user", "content": "more"},
    ]
    messages[index] = {**messages[index], **changes}
    return messages


_MADE = {"id": "abcdefgh1", "function": {"name": "look", "arguments": "{}"}}
_BROKEN = {
    "the system message is the first one": _broken(5, role="system"),
    "the first message is the user's": _broken(1, role="assistant"),
    "the last message is the user's, or a result": _broken(5, role="assistant"),
    "a message of the model follows results": _broken(4, role="user"),
    "calls follow a message of the user, or results": _broken(1, role="assistant"),
    "messages of the user and of the model alternate": _broken(4, role="user"),
    "every call has one result, right after its message, in the same order": _broken(
        3, tool_call_id="other"
    ),
    "every result has its call": _broken(3, tool_call_id="other"),
    "the ids of calls are unique": _broken(2, tool_calls=[_MADE, _MADE]),
    "an id has 9 letters or digits": _broken(2, tool_calls=[{**_MADE, "id": "call_0"}]),
    "an id has at most 40 characters": _broken(2, tool_calls=[{**_MADE, "id": "x" * 41}]),
    "an id has letters, digits, _ and - only": _broken(2, tool_calls=[{**_MADE, "id": "a:0"}]),
    "the name of a called tool has at most 64 letters, digits, _ and -": _broken(
        2, tool_calls=[{**_MADE, "function": {"name": "a.b", "arguments": "{}"}}]
    ),
    "the arguments of a call are a JSON object": _broken(
        2, tool_calls=[{**_MADE, "function": {"name": "look", "arguments": '{"a'}}]
    ),
    "no text is blank": _broken(3, content=""),
    "a message of the model has a text or calls": _broken(4, content=""),
}


def test_a_valid_conversation_has_no_fault() -> None:
    assert [faults(_broken(0), server) for server in EVERY] == [[]] * len(EVERY)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.words)
def test_each_rule_finds_its_fault(rule: Any) -> None:
    assert list(rule.faults(_BROKEN[rule.words]))
    assert rule.source.startswith("https://")
