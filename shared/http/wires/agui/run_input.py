"""RunAgentInput of AG-UI 1.0, read leniently where the spec says so: unknown members are ignored."""

import hashlib
from itertools import takewhile
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)
from pydantic.alias_generators import to_camel

from shared.core import CLIENT_ID_PATTERN, Json, canonical, clean_json, logger

MessageId = Annotated[
    str, StringConstraints(min_length=1, max_length=128), BeforeValidator(clean_json)
]
WireId = Annotated[
    str, StringConstraints(pattern=CLIENT_ID_PATTERN, max_length=128), BeforeValidator(clean_json)
]
#: Clients send a thread's whole history; a model reads far less.
_MAX_MESSAGES = 10_000


class _Wire(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True
    )


class Message(_Wire):
    """A message of the client's history. Only those of users and frontend tools can be new to the server."""

    id: MessageId
    role: str
    content: Any = None
    name: str | None = None
    tool_call_id: MessageId | None = None
    error: str | None = None

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.role in ("user", "tool") and not _is_content(self.content):
            raise ValueError(f"a {self.role} message needs content: a text, or a list of parts")
        if self.role == "tool" and self.tool_call_id is None:
            raise ValueError("a tool message needs toolCallId")
        return self

    def to_request(self) -> Json:
        """The message as `start_run` reads it; messages of other roles only show where the client's history ends."""
        data: Json = {}
        kind = "other"
        if self.role == "user":
            kind, data = "message", {"role": "user", "content": self.content, "name": self.name}
        elif self.role == "tool":
            kind = "tool_result"
            data = {"call_id": self.tool_call_id, "content": self.content, "error": self.error}
        return {
            "key": self.id,
            "kind": kind,
            "data": {k: v for k, v in data.items() if v is not None},
        }


class FrontendTool(_Wire):
    name: Annotated[str, StringConstraints(min_length=1, max_length=128)]
    description: str = ""
    parameters: Json | None = None


class Context(_Wire):
    description: str
    value: str


class Resume(_Wire):
    interrupt_id: str
    status: Literal["resolved", "cancelled"]
    payload: Any = None


class ForwardedProps(_Wire):
    """The members of `forwardedProps` that this backend reads; an app's own members are ignored.

    rewindTo: the message that new ones follow, instead of the thread's last one. busyPolicy: what to do while the
    thread has an unfinished run. background: run without a client. onDisconnect: whether a client that leaves cancels
    its run. resumable: the client knows cursors, so its stream may come in legs.
    """

    rewind_to: MessageId | None = None
    busy_policy: Literal["reject", "enqueue", "cancel_previous"] = "reject"
    background: bool = False
    on_disconnect: Literal["continue", "cancel"] = "continue"
    resumable: bool = False


class RunAgentInput(_Wire):
    """The body of `POST /runs`. `runId` is the idempotency key: the same body again re-attaches to the run."""

    thread_id: WireId
    run_id: WireId
    messages: Annotated[list[Message], Field(max_length=_MAX_MESSAGES)]
    parent_run_id: WireId | None = None
    protocol_version: str | None = None
    state: Any = None
    tools: list[FrontendTool] = []
    context: list[Context] = []
    resume: list[Resume] = []
    forwarded_props: Annotated[
        ForwardedProps, BeforeValidator(lambda v: v if isinstance(v, dict) else {})
    ] = ForwardedProps()

    @model_validator(mode="after")
    def _ids_are_unique(self) -> Self:
        ids = [message.id for message in self.messages]
        if len(set(ids)) < len(ids):
            raise ValueError("two messages have the same id")
        if len({tool.name for tool in self.tools}) < len(self.tools):
            raise ValueError("two tools have the same name")
        return self

    @property
    def newest_user_messages(self) -> list[Message]:
        """Those after the last answer that the client shows. Earlier ones were accepted, perhaps by another agent."""
        newest = takewhile(lambda message: message.role != "assistant", reversed(self.messages))
        return [message for message in newest if message.role == "user"]

    def to_request(self, body: Json, *, agent: str, request_id: str) -> Json:
        """The request to this agent, as `start_run` reads it, with a hash of `body`, the JSON it was read from."""
        if unknown := body.keys() - {f.alias for f in type(self).model_fields.values()}:
            logger.warning(
                "input.ignored", extra={"members": [name[:40] for name in sorted(unknown)[:10]]}
            )
        request = {
            "agent": agent,
            "client_run_id": self.run_id,
            "client_thread_id": self.thread_id,
            "client_parent_run_id": self.parent_run_id,
            "hash": _digest({"agent": agent, "body": body}),
            "messages": [message.to_request() for message in self.messages],
            "state": {} if self.state is None else self.state,
            "tools": [tool.model_dump(exclude_none=True) for tool in self.tools],
            "context": [entry.model_dump() for entry in self.context],
            "resume": [answer.model_dump() for answer in self.resume],
            "rewind_to": self.forwarded_props.rewind_to,
            "busy": self.forwarded_props.busy_policy,
            "request_id": request_id,
        }
        return clean_json(request)  # type: ignore[no-any-return]  # the same shape


class ConnectInput(_Wire):
    """The body of `POST /connect`: a thread to attach to, at its latest run or at a given one."""

    thread_id: WireId
    run_id: WireId | None = None
    protocol_version: str | None = None


def _is_content(content: Any) -> bool:
    is_parts = isinstance(content, list) and all(isinstance(part, dict) for part in content)
    return is_parts or isinstance(content, str)


def _digest(body: Json) -> str:
    return hashlib.sha256(canonical(body)).hexdigest()
