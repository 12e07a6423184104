"""What a model is offered: schemas, names and a number of tools that its API takes."""

import re
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.items import Item
from shared.core.json import Json
from shared.models.chat_completions import ChatCompletions
from shared.models.events import ToolCallDelta
from shared.models.names import model_name, model_names
from shared.models.offers import offer
from shared.models.parameters import parameters_of
from shared.models.requests import ModelRequest, ModelSettings, NamedTool, ToolSpecification
from shared.models.responses import Responses

TEXT = {"type": "string"}
NUMBER = {"type": "number"}
NOTHING = {"type": "object", "properties": {}}
#: What OpenAI refuses, and what it gets.
SCHEMAS: list[tuple[Any, Json]] = [
    ({"type": "object"}, NOTHING),
    ({}, NOTHING),
    (None, NOTHING),
    ([], NOTHING),
    (True, NOTHING),
    ({"type": None, "properties": None}, NOTHING),
    ({"type": ["object", "null"]}, NOTHING),
    ({"type": "None"}, NOTHING),
    ({"properties": {"a": TEXT}}, {"type": "object", "properties": {"a": TEXT}}),
    (
        {"type": "object", "properties": {"a": {"type": "array"}}},
        {"type": "object", "properties": {"a": {"type": "array", "items": {}}}},
    ),
    (
        {"properties": {"a": {"type": ["array", "null"]}, "b": {"anyOf": [{"type": "array"}]}}},
        {
            "type": "object",
            "properties": {
                "a": {"type": ["array", "null"], "items": {}},
                "b": {"anyOf": [{"type": "array", "items": {}}]},
            },
        },
    ),
    (
        {"properties": {"a": {"type": "array", "items": [TEXT, NUMBER]}}},
        {
            "type": "object",
            "properties": {"a": {"type": "array", "items": {"anyOf": [TEXT, NUMBER]}}},
        },
    ),
    (
        {"properties": {"a": "string", "b": True, "c": {**TEXT, "required": True}}},
        {"type": "object", "properties": {"a": {}, "b": True, "c": TEXT}},
    ),
    (
        {"$ref": "#/$defs/In", "$defs": {"In": {"type": "object", "properties": {"a": TEXT}}}},
        {
            "type": "object",
            "properties": {"a": TEXT},
            "$defs": {"In": {"type": "object", "properties": {"a": TEXT}}},
        },
    ),
    ({"$ref": "https://example.com/schema"}, NOTHING),
    ({"$ref": "#"}, NOTHING),
    (
        {"type": "object", "properties": {"a": TEXT}, "oneOf": [{"required": ["a"]}, {}]},
        {"type": "object", "properties": {"a": TEXT}},
    ),
    (
        {
            "anyOf": [
                {"properties": {"a": TEXT, "k": {"const": 1}}, "required": ["a", "k"]},
                {"properties": {"b": TEXT, "k": {"const": 2}}, "required": ["b", "k"]},
                {"type": "null"},
            ][:2]
        },
        {
            "type": "object",
            "properties": {"a": TEXT, "k": {"anyOf": [{"const": 1}, {"const": 2}]}, "b": TEXT},
            "required": ["k"],
        },
    ),
    (
        {
            "allOf": [
                {"properties": {"a": TEXT}, "required": ["a"]},
                {"properties": {"b": TEXT}, "required": ["b"]},
            ],
            "not": {"required": ["c"]},
            "if": {},
            "enum": [{}],
        },
        {"type": "object", "properties": {"a": TEXT, "b": TEXT}, "required": ["a", "b"]},
    ),
]
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("type", "properties", "items", "required", "anyOf", "allOf", "oneOf", "$ref"),
                    *("$defs", "a", "definitions", "prefixItems", "not", "enum"),
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@pytest.mark.parametrize(("given_schema", "sent"), SCHEMAS)
def test_a_schema_that_would_be_refused_is_sent_in_a_form_that_is_not(
    given_schema: Any, sent: Json
) -> None:
    assert parameters_of(given_schema) == sent


@pytest.mark.parametrize("api", [ChatCompletions(), Responses("")])
def test_both_apis_get_that_form(api: Any) -> None:
    tool = ToolSpecification("wait", "", {"type": "object"})
    body = api.body(ModelRequest(items=[], instructions="", tools=[tool]), "m")
    (sent,) = body["tools"]
    assert sent.get("function", sent)["parameters"] == NOTHING


@given(_JSON)
def test_any_json_becomes_a_schema_of_an_object(schema: Any) -> None:
    sent = parameters_of(schema)

    assert sent["type"] == "object"
    assert isinstance(sent["properties"], dict)
    assert not {"anyOf", "oneOf", "allOf", "enum", "not", "$ref"} & sent.keys()
    assert all(isinstance(each, dict | bool) for each in sent["properties"].values())


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}},
        {
            "$ref": "#/$defs/d0",
            "$defs": {
                f"d{n}": {
                    "anyOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 9,
                    "properties": {f"p{n}": TEXT},
                }
                for n in range(40)
            },
        },
    ],
    ids=["a circle", "many"],
)
def test_references_that_lead_in_a_circle_or_multiply_end(schema: Json) -> None:
    assert parameters_of(schema)["type"] == "object"


def test_a_schema_that_nests_deep_is_cut() -> None:
    deep: Json = TEXT
    for _ in range(400):
        deep = {"type": "object", "properties": {"a": deep}}
    assert jsonschema_rs.is_valid(parameters_of(deep), {"a": {"a": {}}})


def test_a_schema_that_needs_no_change_keeps_every_word() -> None:
    good = {
        "type": "object",
        "properties": {"a": {"type": "array", "items": {"$ref": "#/$defs/x"}}, "b": {"enum": [1]}},
        "required": ["a"],
        "additionalProperties": False,
        "$defs": {"x": {"anyOf": [TEXT, NUMBER]}},
    }
    assert parameters_of(good) == good


_API_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}\Z")
JAPANESE = ["検索する", "翻訳する", "予約する"]
NAMES = [
    *("ui.confirm", "ui_confirm", "ui/confirm", "my tool", "x" * 100, "x" * 101, "", "___", "..."),
    *("größe", "поиск", "🔎", *JAPANESE, "look"),
]


@given(st.sets(st.text(max_size=80) | st.sampled_from(NAMES), max_size=12))
def test_the_names_for_a_model_are_valid_and_distinct(names: set[str]) -> None:
    made = model_names(names)
    sent = [made.get(name, name) for name in names]

    assert all(_API_NAME.match(name) for name in sent)
    assert len({*sent}) == len(names)


def test_names_stay_readable_and_depend_on_nothing_else() -> None:
    assert model_name("ui.confirm") == "ui_confirm"
    assert model_name("multi_tool_use.parallel") == "multi_tool_use_parallel"
    assert model_name("my tool") == "my_tool"
    assert re.fullmatch(r"x{55}_[0-9a-f]{8}", model_name("x" * 100))
    assert model_names(NAMES) == model_names([*reversed(NAMES)])
    assert len({model_name(name) for name in JAPANESE}) == 3


def request(*names: str, **settings: Any) -> ModelRequest:
    tools = [ToolSpecification(name, "", {}) for name in names]
    called = {"name": "gone.tool", "arguments": "{}", "message_id": "m", "executor": "client"}
    items = [
        Item("u", "message", {"role": "user", "content": "hi"}),
        Item("c", "tool_call", {**called, "name": names[0]} if names else called),
        Item("r", "tool_result", {"call_id": "c", "content": "done"}),
    ]
    return ModelRequest(
        items=items, instructions="", tools=tools, settings=ModelSettings(**settings)
    )


@pytest.mark.parametrize("api", [ChatCompletions(), Responses("")])
def test_names_are_translated_in_all_of_a_request_and_back_in_its_calls(api: Any) -> None:
    made = offer(request(*JAPANESE, tool_choice=NamedTool(JAPANESE[2])), 128)
    body = str(api.body(made.request, "m"))

    assert body.isascii(), "a tool, a call of the thread and the choice have names for the model"
    names = [tool.name for tool in made.request.tools]
    deltas = [ToolCallDelta(nth, None, name, "") for nth, name in enumerate(names)]
    made.restore([*deltas])
    assert [delta.name for delta in deltas] == JAPANESE


def test_a_call_of_a_tool_that_is_gone_has_a_name_for_the_model_too() -> None:
    made = offer(request(), 128)
    assert made.request.items[1].data["name"] == "gone_tool"


def test_names_that_the_api_takes_change_nothing() -> None:
    plain = request("look", "wait-2")
    assert offer(plain, 128).request is plain


def test_a_model_gets_as_many_tools_as_it_takes_those_chosen_first_then_from_each_server() -> None:
    chosen = [ToolSpecification(f"chosen{n}", "", {}, 0) for n in range(15)]
    large = [ToolSpecification(f"large{n}", "", {}, n + 1) for n in range(140)]
    small = [ToolSpecification(f"small{n}", "", {}, n + 1) for n in range(15)]
    many = ModelRequest(items=[], instructions="", tools=[*large, *small, *chosen])

    made = offer(many, 128)

    kept = [tool.name for tool in made.request.tools]
    assert len(kept) == 128
    assert {tool.name for tool in chosen + small} <= {*kept}
    assert kept == [tool.name for tool in many.tools if tool.name in kept], "in their order"
    assert made.left_out == sorted(f"large{n}" for n in range(98, 140))
    assert offer(many, 1000).request is many
