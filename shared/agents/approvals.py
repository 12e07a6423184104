"""Interrupts: the questions that end a run, and what the user's answers mean for the calls that wait.

A run with a question ends as interrupted, so nothing runs while it waits. A later run of the thread brings the answer
and continues the calls.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import orjson

from shared.agents.bound import BoundAgent
from shared.agents.calls import StartedCall, fault_of, result_event
from shared.agents.tools import Question, Result, Tool
from shared.agents.turn import Call
from shared.core import Answer, Draft, Item, Json, property_order

_REFUSED = "The user did not allow this call. It was not made."
_EXPIRED = "The user did not allow this call in time. It was not made."
_CHANGED = "The user changed the arguments, and the call was not made."
_DECLINED = "The user did not answer the tool's question. The call was not finished."
_LATE = "The user did not answer the tool's question in time. The call was not finished."


def ask_approval(call: Call, tool: Tool, agent: BoundAgent) -> Json:
    """The interrupt that asks whether a call may be made."""
    properties: Json = {"approved": {"type": "boolean"}}
    if tool.approval == "edit":
        properties["arguments"] = tool.parameters
    schema = {"type": "object", "properties": properties, "required": ["approved"]}
    return _interrupt(call, "tool_call", f"May {call.name} be called?", schema, agent)


def ask_input(call: Call, question: Question, agent: BoundAgent) -> Json:
    """The interrupt that asks a tool's own question."""
    interrupt = _interrupt(call, "input_required", question.message, question.schema, agent)
    return {**interrupt, "state": question.state}


def _interrupt(call: Call, reason: str, message: str, schema: Json, agent: BoundAgent) -> Json:
    expires_at = datetime.now(UTC) + timedelta(hours=agent.approval_hours)
    return {
        "id": str(uuid4()),
        "call_id": call.id,
        # Only this agent has the tool, so the answer is sent there.
        "agent": agent.name,
        "reason": reason,
        "message": message,
        "response_schema": schema,
        "property_order": property_order(schema),
        "expires_at": expires_at.isoformat(timespec="milliseconds"),
    }


@dataclass(frozen=True, slots=True)
class AnswerEffects:
    """What a run's answers mean: events for the log, calls to start, and results of calls that were refused."""

    drafts: Sequence[Draft]
    started: Sequence[StartedCall]
    results: Sequence[Item]


def take_answers(
    answers: Iterable[Answer], waiting: Mapping[str, Item], tools: Mapping[str, Tool]
) -> AnswerEffects:
    """Start the calls that the user allowed and that can be made, and give the others a result.

    `waiting`: the calls without a result, by id. Answers to other calls have no effect: an earlier attempt has applied
    them.
    """
    resolutions: list[Draft] = []
    started: list[StartedCall] = []
    results: list[Item] = []
    for answer in answers:
        item = waiting.get(answer.call_id)
        if item is None:
            continue
        each = resume_call(item, str(uuid4()), answer, tools)
        resolutions.append(_resolution(answer, each))
        if why_not := _why_not(answer, each, tools):
            results.append(each.finish(why_not))
        else:
            started.append(each)
    drafts = [*resolutions, *map(result_event, results), *(each.start() for each in started)]
    return AnswerEffects(drafts, started, results)


def resume_call(
    item: Item, result_id: str, answer: Answer | None, tools: Mapping[str, Tool]
) -> StartedCall:
    """A call of the thread, with its user's answer and edited arguments."""
    name, arguments = item.data["name"], item.data["arguments"]
    edited = _edited_arguments(answer, tools.get(name)) if answer and answer.allows else None
    call = Call(item.key, None, name, "server", [edited or arguments])
    reply = None
    if answer and answer.reason == "input_required":
        reply = {"payload": answer.payload, "state": answer.state}
    return StartedCall(call, result_id, edited is not None, reply)


def _edited_arguments(answer: Answer, tool: Tool | None) -> str | None:
    if tool is None or tool.approval != "edit" or answer.reason != "tool_call":
        return None
    arguments = answer.payload.get("arguments")
    # What is no object is kept, so that it fails: the user did not allow the model's own arguments.
    return None if arguments is None else orjson.dumps(arguments).decode()


def _resolution(answer: Answer, started: StartedCall) -> Draft:
    data = {
        "interrupt_id": answer.interrupt_id,
        "call_id": answer.call_id,
        "status": "resolved" if answer.allows else "cancelled",
    }
    if started.edited:
        data["arguments"] = "".join(started.call.arguments)
    return Draft("interrupt.resolved", None, data)


def _why_not(answer: Answer, started: StartedCall, tools: Mapping[str, Tool]) -> Result | None:
    """Why the call is not made, as its result; None: it is made."""
    if not answer.allows:
        return Result(_refusal(answer), "refused")
    wrong = fault_of(started.call, tools.get(started.call.name))
    if wrong and started.edited:
        return Result(f"{_CHANGED} {wrong.content}", "error")
    return wrong


def _refusal(answer: Answer) -> str:
    payload = answer.payload if isinstance(answer.payload, dict) else {}
    is_expired = payload.get("expired") is True
    if answer.reason == "input_required":
        return _LATE if is_expired else _DECLINED
    if is_expired:
        return _EXPIRED
    reason = payload.get("reason")
    has_reason = isinstance(reason, str) and reason
    return f"{_REFUSED} Their reason: {reason}" if has_reason else _REFUSED


def unanswered(items: Sequence[Item]) -> list[Item]:
    """The calls that have no result."""
    answered_ids = {item.data["call_id"] for item in items if item.kind == "tool_result"}
    return [item for item in items if item.kind == "tool_call" and item.key not in answered_ids]


def last_calls(items: Sequence[Item]) -> list[Item]:
    """The calls without a result at the thread's end. Frontend calls wait only until one of them has a result.

    A result with a status is ours, and not the frontend's: that call could not be made.
    """
    last = next((n for n in range(len(items), 0, -1) if items[n - 1].kind == "message"), 0)
    tail = items[last:]
    waiting = unanswered(tail)
    clients = {c.key for c in tail if c.kind == "tool_call" and c.data["executor"] == "client"}
    results = (item.data for item in tail if item.kind == "tool_result")
    if any(data["call_id"] in clients and "status" not in data for data in results):
        return [call for call in waiting if call.data["executor"] == "server"]
    return waiting
