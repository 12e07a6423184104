"""The OpenAPI document of an agent: what FastAPI cannot see, since bodies are read after their sender is verified."""

from collections.abc import Mapping
from typing import Any, Final, Literal

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from shared.core import Json
from shared.http import openapi
from shared.http.wires.agui.run_input import ConnectInput, RunAgentInput


class Run(BaseModel):
    """A run. `cursor` is that of its last event. Members without a value are absent."""

    model_config = ConfigDict(alias_generator=to_camel)

    run_id: str
    thread_id: str
    agent: str
    parent_run_id: str = ""
    status: Literal[
        "queued", "in_progress", "completed", "incomplete", "interrupted", "cancelled", "failed"
    ]
    cursor: str
    created_at: str
    started_at: str = ""
    ended_at: str = ""
    pending_tool_call_ids: list[str] = []
    interrupts: list[dict[str, Any]] = []
    result: Any = None
    usage: list[dict[str, Any]] = []
    error: dict[str, str] = {}
    limits: dict[str, dict[str, int]] = {}


class RunStatus(BaseModel):
    """A run's status after a request to cancel it."""

    model_config = ConfigDict(alias_generator=to_camel)

    run_id: str
    status: str


_EXAMPLES: Final = {
    "a new message": {
        "threadId": "t1",
        "runId": "r1",
        "messages": [{"id": "m1", "role": "user", "content": "Name three colours."}],
    },
    "an approval": {
        "threadId": "t1",
        "runId": "r2",
        "messages": [],
        "resume": [{"interruptId": "i1", "status": "resolved", "payload": {"approved": True}}],
    },
}
_STREAM: Final = (
    'id: 1.1\ndata: {"type":"RUN_STARTED","threadId":"t1","runId":"r1"}\n\n'
    'id: 1.2\ndata: {"type":"TEXT_MESSAGE_START","messageId":"m2","role":"assistant"}\n\n'
)
_RATE_LIMITS: Final = {
    name: {"description": "Where users have a budget of tokens.", "schema": {"type": "string"}}
    for name in ("RateLimit", "RateLimit-Policy")
}


def describe(app: FastAPI) -> Json:
    """The document of an agent's app: its own five operations, and the routes that its developer has added."""
    schema = get_openapi(
        title=app.title,
        version="1",
        summary="An agent: start runs, follow them, cancel them.",
        routes=app.routes,
    )
    for (path, method), own in _operations().items():
        operation = schema["paths"][path][method]
        operation.update(own, tags=["runs"])
    return openapi.complete(schema, app.title, RunAgentInput, ConnectInput, Run, RunStatus)


def _operations() -> Mapping[tuple[str, str], Json]:
    background = _json(202, Run, "The run, which executes in the background.")
    return {
        ("/runs", "post"): {
            "operationId": "startRun",
            **openapi.body(RunAgentInput, _EXAMPLES),
            "responses": _responses(
                {200: {**_stream("The run's events."), "headers": _RATE_LIMITS}, **background},
                *("body_too_large", "content_unsupported", "nothing_to_answer"),
                *("run_id_reused", "thread_busy", "thread_deleted", "rewind_target_unknown"),
                *("interrupt_open", "interrupt_resolved", "interrupt_expired"),
                *("interrupt_of_another_agent", "budget_exceeded", "too_many_runs"),
                "agent_unavailable",
            ),
        },
        ("/runs/{run_id}", "get"): {
            "operationId": "readRun",
            "responses": _responses(_json(200, Run, "The run."), "run_not_found"),
        },
        ("/runs/{run_id}/events", "get"): {
            "operationId": "followRun",
            "responses": _responses(
                {200: _stream("The run's events after the cursor, and new ones as they come.")},
                *("run_not_found", "invalid_cursor"),
            ),
        },
        ("/runs/{run_id}/cancel", "post"): {
            "operationId": "cancelRun",
            "responses": _responses(
                {
                    **_json(200, RunStatus, "The run has ended."),
                    **_json(202, RunStatus, "The process that executes the run will end it."),
                },
                "run_not_found",
            ),
        },
        ("/connect", "post"): {
            "operationId": "connect",
            **openapi.body(ConnectInput, {"the latest run": {"threadId": "t1"}}),
            "responses": _responses(
                {200: _stream("The thread as it is now, and then new events.")},
                *("body_too_large", "run_not_found", "thread_not_found"),
            ),
        },
    }


def _responses(successes: openapi.Responses, *codes: str) -> Json:
    return {str(k): each for k, each in {**successes, **openapi.problems(*codes)}.items()}


def _stream(description: str) -> Json:
    text = {"schema": {"type": "string"}, "example": _STREAM}
    events = "Server-sent events; each `data` is an event of AG-UI 1.0, each `id` a cursor."
    return {
        "description": f"{description} {events}",
        "content": {"text/event-stream": text},
    }


def _json(status: int, model: type[BaseModel], description: str) -> openapi.Responses:
    content = {"application/json": {"schema": {"$ref": openapi.ref(model)}}}
    return {status: {"description": description, "content": content}}
