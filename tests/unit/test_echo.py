"""The stand-in for a model: what it answers, and that OpenAI's client and our agents understand it."""

from typing import Any

import httpx2
import jsonschema_rs
import pytest
from openai import AsyncOpenAI

from functions.tools.app import find_tools
from functions.trips.app import Trip, agent
from local import CannotStart
from local.model import choose, smollm
from local.model.echo import app
from local.model.reply import Call, reply
from local.model.sample import sample
from shared.agents.function_tool import FunctionTool

FIND = {
    "type": "object",
    "properties": {
        "number": {"type": "string", "description": "as printed"},
        "years": {"type": "integer"},
    },
    "required": ["number"],
}
TOOLS = [{"type": "function", "function": {"name": "find_order", "parameters": FIND}}]


def answer(text: Any, **more: Any) -> Any:
    return reply({"messages": [{"role": "user", "content": text}], "tools": TOOLS, **more})


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("find_order A-17", {"number": "A-17"}),
        ("find_order 17", {"number": "17"}),
        ("find_order number=A-17 years=2", {"number": "A-17", "years": 2}),
        ('find_order number="A 17"', {"number": "A 17"}),
        ('find_order {"number": "A-17"}', {"number": "A-17"}),
        ("find_order it's late", {"number": "it's late"}),
        ("Please call `find_order` now", {"number": "echo"}),
        ([{"type": "text", "text": "find_order A-17"}], {"number": "A-17"}),
    ],
)
def test_a_message_that_names_a_tool_is_a_call(text: Any, arguments: dict[str, Any]) -> None:
    assert answer(text) == Call("find_order", arguments)


def test_the_bare_name_of_a_tool_says_what_it_needs() -> None:
    said = answer(" find_order\n")
    assert said == (
        "`find_order` needs arguments:\n\n- `number`: as printed\n- `years` (optional): integer\n\n"
        'Write `find_order NUMBER`, or all of them as JSON: `find_order {"number": "echo"}`.'
    )


def test_an_agent_with_structured_answers_gets_a_call_instead() -> None:
    schema = {"name": "trip", "schema": Trip.model_json_schema()}
    called = answer("find_order", response_format={"type": "json_schema", "json_schema": schema})
    assert called == Call("find_order", {"number": "echo"})


def test_the_bare_name_of_a_tool_without_required_arguments_is_a_call() -> None:
    tools = [{"type": "function", "function": {"name": "list_orders"}}]
    assert answer("list_orders", tools=tools) == Call("list_orders", {})


@pytest.mark.parametrize("text", ["Hello", "find_orders A-17", "", "Is find_order good?"])
def test_any_other_message_is_repeated_with_the_tools(text: str) -> None:
    said = answer(text)
    assert said.startswith(f"You wrote: {text}")
    assert "`find_order`" in said


def test_results_of_tools_are_repeated() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "find_order", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": "find_order A-17"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "shipped"},
    ]
    assert reply({"messages": messages, "tools": TOOLS}) == "The tool returned: shipped"


@pytest.mark.parametrize(
    "schema",
    [
        *(tool.input_schema for tool in find_tools().values()),
        *(tool.input_schema for tool in agent.tools if isinstance(tool, FunctionTool)),
        Trip.model_json_schema(),
        {"type": "array", "items": {"enum": ["a"]}, "minItems": 2},
        {"anyOf": [{"type": "null"}, {"type": "string"}]},
        {"type": ["string", "null"], "format": "uuid"},
        {"type": "integer", "maximum": -3},
        {"type": "number", "minimum": 2.5},
        {
            "$ref": "#/$defs/Folder",
            "$defs": {
                "Folder": {
                    "type": "object",
                    "properties": {"in": {"type": "array", "items": {"$ref": "#/$defs/Folder"}}},
                    "required": ["in"],
                }
            },
        },
    ],
)
def test_a_made_up_value_fits_its_schema(schema: dict[str, Any]) -> None:
    jsonschema_rs.validate(schema, sample(schema))


def test_a_pattern_of_another_dialect_is_no_failure() -> None:
    assert sample({"type": "string", "pattern": r"^\p{L}+$"}) == "echo"


def test_a_structured_answer_fits_its_schema() -> None:
    schema = {"name": "trip", "schema": Trip.model_json_schema()}
    text = answer("Plan a trip", response_format={"type": "json_schema", "json_schema": schema})
    assert len(Trip.model_validate_json(text).stops) == 1


async def test_the_client_of_openai_reads_its_streams() -> None:
    transport = httpx2.ASGITransport(app())
    client = AsyncOpenAI(
        api_key="none",
        base_url="http://echo/v1",
        http_client=httpx2.AsyncClient(transport=transport),
    )

    async def chunks(text: str) -> list[Any]:
        request: Any = {"messages": [{"role": "user", "content": text}], "tools": TOOLS}
        stream = await client.chat.completions.create(model="echo", stream=True, **request)
        return [chunk async for chunk in stream]

    *texts, end, usage = await chunks("Hello there")
    said = "".join(chunk.choices[0].delta.content or "" for chunk in texts)
    assert said.startswith("You wrote: Hello there\n\nI am an echo")
    assert end.choices[0].finish_reason == "stop"
    assert usage.usage.completion_tokens == len(texts)

    call, end, _ = await chunks("find_order A-17")
    assert call.choices[0].delta.tool_calls[0].function.arguments == '{"number": "A-17"}'
    assert end.choices[0].finish_reason == "tool_calls"


def test_a_key_or_an_address_makes_a_stand_in_needless() -> None:
    assert choose({"OPENAI_API_KEY": "sk"}, 1).stand_in == ""
    ours = choose({"OPENAI_BASE_URL": "http://127.0.0.1:11434/v1", "OPENAI_MODEL": "qwen"}, 1)
    assert (ours.stand_in, ours.title) == ("", "qwen at http://127.0.0.1:11434/v1")
    assert ours.settings == {"OPENAI_API_KEY": "none"}
    assert choose({}, 1).stand_in == "echo"
    small = choose({"LOCAL_MODEL": "smollm2"}, 1)
    assert (small.stand_in, small.settings["OPENAI_MODEL"]) == ("smollm2", smollm.NAME)


def test_a_stand_in_that_is_unknown_or_not_installed_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(CannotStart, match="LOCAL_MODEL=gpt must be echo or smollm2"):
        choose({"LOCAL_MODEL": "gpt"}, 1)
    monkeypatch.setattr("local.model.smollm.find_spec", lambda _: None)
    with pytest.raises(CannotStart, match="run `make local-model`"):
        choose({"LOCAL_MODEL": "smollm2"}, 1)
