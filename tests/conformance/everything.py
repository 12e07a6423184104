"""The tools that the scenarios of MCP's conformance suite expect of a server.

A tool raises the same `InputRequired` for all protocol versions; the server sends a round, or a question on the stream.
"""

import asyncio
from contextvars import ContextVar
from typing import Any

from functions.tools.calls import McpResult
from functions.tools.elicitation import Notify
from shared.agents import FunctionTool, InputRequired, ToolContext, ToolError, tool
from shared.core.json import Json
from tests.conformance.samples import PNG, WAV

#: Sends a log message about the call that runs; set by the test's server.
notify: ContextVar[Notify] = ContextVar("notify")


def content(*blocks: Json) -> McpResult:
    return McpResult(content=[*blocks])


def text(content: str) -> Json:
    return {"type": "text", "text": content}


def resource(uri: str, kind: str, content: str) -> Json:
    return {"type": "resource", "resource": {"uri": uri, "mimeType": kind, "text": content}}


def schema(**properties: Json) -> Json:
    return {"type": "object", "properties": properties, "required": [*properties]}


IMAGE: Json = {"type": "image", "data": PNG, "mimeType": "image/png"}
AUDIO: Json = {"type": "audio", "data": WAV, "mimeType": "audio/wav"}
NAME = schema(name={"type": "string"})
OK = schema(ok={"type": "boolean"})


def sampling(prompt: str, tokens: int = 100) -> Json:
    message = {"role": "user", "content": text(prompt)}
    params = {"messages": [message], "maxTokens": tokens}
    return {"method": "sampling/createMessage", "params": params}


ROOTS: Json = {"method": "roots/list", "params": {}}


@tool()
async def test_simple_text(context: ToolContext) -> str:
    """Return a text."""
    return "This is a simple text response for testing."


@tool()
async def test_image_content(context: ToolContext) -> McpResult:
    """Show an image."""
    return content(IMAGE)


@tool()
async def test_audio_content(context: ToolContext) -> McpResult:
    """Play a sound."""
    return content(AUDIO)


@tool()
async def test_embedded_resource(context: ToolContext) -> McpResult:
    """Give a resource."""
    return content(resource("test://embedded-resource", "text/plain", "This is embedded."))


@tool()
async def test_multiple_content_types(context: ToolContext) -> McpResult:
    """Give one of each."""
    data = resource("test://mixed-content-resource", "application/json", '{"test":"data"}')
    return content(text("Multiple content types test:"), IMAGE, data)


@tool()
async def test_error_handling(context: ToolContext) -> str:
    """Fail."""
    raise ToolError("This tool intentionally returns an error for testing")


@tool()
async def test_tool_with_progress(context: ToolContext) -> str:
    """Report progress."""
    for done in (0, 50, 100):
        context.progress(done, 100)
        await asyncio.sleep(0.02)
    return "done"


async def _log(*messages: str) -> str:
    for message in messages:
        params = {"level": "info", "data": message}
        notify.get()({"jsonrpc": "2.0", "method": "notifications/message", "params": params})
        await asyncio.sleep(0.02)
    return "done"


@tool()
async def test_tool_with_logging(context: ToolContext) -> str:
    """Log three lines."""
    return await _log("Tool execution started", "Tool processing data", "Tool execution completed")


@tool()
async def test_logging_tool(context: ToolContext) -> str:
    """Log nothing, as the client set no level."""
    return "done"


@tool()
async def test_sampling(prompt: str, context: ToolContext) -> str:
    """Have the client ask its model."""
    if "answer" not in context.answers:
        raise InputRequired({"answer": sampling(prompt)})
    return f"LLM response: {context.answers['answer']}"


@tool()
async def test_missing_capability(context: ToolContext) -> str:
    """Require a capability that the client lacks."""
    raise InputRequired({"answer": sampling("?")})


async def _elicited(context: ToolContext, message: str, fields: Json) -> str:
    if "user" not in context.answers:
        raise InputRequired({"user": (message, fields)})
    return f"Elicitation completed: action=accept, content={context.answers['user']}"


@tool()
async def test_elicitation(message: str, context: ToolContext) -> str:
    """Ask the user."""
    questions = schema(username={"type": "string"}, email={"type": "string"})
    return await _elicited(context, message, questions)


@tool()
async def test_streaming_elicitation(context: ToolContext) -> str:
    """Ask the user."""
    return await _elicited(context, "What is your name?", NAME)


@tool()
async def test_elicitation_sep1034_defaults(context: ToolContext) -> str:
    """Ask the user, with defaults."""
    states = ["active", "inactive", "pending"]
    questions = schema(
        name={"type": "string", "default": "John Doe"},
        age={"type": "integer", "default": 30},
        score={"type": "number", "default": 95.5},
        status={"type": "string", "enum": states, "default": "active"},
        verified={"type": "boolean", "default": True},
    )
    return await _elicited(context, "Who are you?", questions)


@tool()
async def test_elicitation_sep1330_enums(context: ToolContext) -> str:
    """Ask the user for choices."""
    options = ["option1", "option2", "option3"]
    titled = [{"const": f"value{n}", "title": f"Choice {n}"} for n in (1, 2, 3)]
    questions = schema(
        untitledSingle={"type": "string", "enum": options},
        titledSingle={"type": "string", "oneOf": titled},
        legacyEnum={"type": "string", "enum": options, "enumNames": ["One", "Two", "Three"]},
        untitledMulti={"type": "array", "items": {"type": "string", "enum": options}},
        titledMulti={"type": "array", "items": {"anyOf": titled}},
    )
    return await _elicited(context, "Which ones?", questions)


@tool()
async def test_input_required_result_elicitation(context: ToolContext) -> str:
    """Ask the user for a name."""
    name = context.answers.get("user_name", {}).get("name")
    if not isinstance(name, str):
        raise InputRequired({"user_name": ("What is your name?", NAME)})
    return f"Hello, {name}!"


@tool()
async def test_input_required_result_sampling(context: ToolContext) -> str:
    """Ask the client's model."""
    if "capital_question" not in context.answers:
        raise InputRequired({"capital_question": sampling("What is the capital of France?")})
    return str(context.answers["capital_question"])


@tool()
async def test_input_required_result_list_roots(context: ToolContext) -> str:
    """Ask for the client's roots."""
    if "client_roots" not in context.answers:
        raise InputRequired({"client_roots": ROOTS})
    return str(context.answers["client_roots"])


async def _confirmed(context: ToolContext) -> str:
    if context.question_state != {"requested": "confirm"} or "confirm" not in context.answers:
        raise InputRequired({"confirm": ("Please confirm", OK)}, {"requested": "confirm"})
    return "state-ok"


@tool()
async def test_input_required_result_request_state(context: ToolContext) -> str:
    """Keep a state while the user answers."""
    return await _confirmed(context)


@tool()
async def test_input_required_result_tampered_state(context: ToolContext) -> str:
    """Keep a state that the client must not change."""
    return await _confirmed(context)


@tool()
async def test_input_required_result_multiple_inputs(context: ToolContext) -> str:
    """Ask for three things at once."""
    questions: dict[str, Any] = {
        "user_name": ("What is your name?", NAME),
        "greeting": sampling("Generate a greeting", 50),
        "client_roots": ROOTS,
    }
    if not questions.keys() <= context.answers.keys():
        raise InputRequired(questions, {})
    return "done"


@tool()
async def test_input_required_result_multi_round(context: ToolContext) -> str:
    """Ask twice."""
    state = context.question_state or {}
    if "step1" in context.answers:
        colour = schema(color={"type": "string"})
        raise InputRequired(
            {"step2": ("Step 2: What is your favorite color?", colour)}, {"step": 2}
        )
    if state.get("step") != 2 or "step2" not in context.answers:
        raise InputRequired({"step1": ("Step 1: What is your name?", NAME)}, {"step": 1})
    return "done"


@tool()
async def test_input_required_result_capabilities(context: ToolContext) -> str:
    """Ask only for what the client supports."""
    questions: dict[str, Any] = {"user": ("Who?", NAME), "model": sampling("Who?")}
    needs = {"user": "elicitation", "model": "sampling"}
    raise InputRequired(
        {key: questions[key] for key in questions if needs[key] in context.capabilities}
    )


#: The schema that the suite looks for, word by word.
CONTACT: Json = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "type": "object",
    "properties": {},
    "additionalProperties": False,
}


class WithContact(FunctionTool):
    """A tool whose schema no Python signature can express."""

    input_schema = CONTACT


async def _take_contact() -> str:
    return "done"


json_schema_2020_12_tool = WithContact(
    function=_take_contact,
    name="json_schema_2020_12_tool",
    title="Contact",
    description="Take what JSON Schema can say.",
)


TOOLS: dict[str, FunctionTool] = {
    each.name: each for each in [*globals().values()] if isinstance(each, FunctionTool)
}
