"""The end of a run as AG-UI 1.0 shows it: its outcome, its interrupts and its usage. Pure."""

from typing import Final, Literal, assert_never

from shared.core import Json, in_order

#: The endings that AG-UI shows as `RUN_FINISHED`.
FinishedType = Literal["run.completed", "run.interrupted", "run.incomplete", "run.cancelled"]
_USAGE: Final = {
    "model": "model",
    "input_tokens": "inputTokens",
    "output_tokens": "outputTokens",
    "cached_tokens": "cachedInputTokens",
    "reasoning_tokens": "reasoningTokens",
}


def outcome(ending: FinishedType, data: Json) -> Json:
    """The members `outcome`, `result` and `metadata` of `RUN_FINISHED`."""
    match ending:
        case "run.cancelled":
            return {"outcome": {"type": "cancelled"}}
        case "run.interrupted":
            return {"outcome": {"type": "interrupt", "interrupts": interrupts(data)}}
        case "run.incomplete":
            return {
                "outcome": {"type": "success"},
                "metadata": {"incompleteReason": data["reason"]},
            }
        case "run.completed":
            pending = data.get("pending_calls")
            more = {"pendingToolCallIds": pending} if pending else {}
            result = {"result": data["output"]} if data.get("output") is not None else {}
            return {"outcome": {"type": "success", **more}, **result}
        case _:
            assert_never(ending)


def for_older_client(frame: Json) -> Json:
    """The last frame for a client before AG-UI 1.0, whose schema refuses what 1.0 added to outcomes."""
    match frame.get("outcome"):
        case {"type": "cancelled"}:
            failure = {"message": "The run was cancelled.", "code": "cancelled"}
            known = {name: frame[name] for name in ("usage",) if name in frame}
            return {"type": "RUN_ERROR", **failure, **known}
        case {"type": "success"}:
            return {**frame, "outcome": {"type": "success"}}
    return frame


def interrupts(ending: Json) -> list[Json]:
    """The interrupts that a run ended with, as AG-UI has them."""
    return [_interrupt(stored) for stored in ending.get("interrupts") or ()]


def _interrupt(stored: Json) -> Json:
    names = {
        "id": "id",
        "reason": "reason",
        "message": "message",
        "call_id": "toolCallId",
        "response_schema": "responseSchema",
        "expires_at": "expiresAt",
    }
    shown = {member: stored[name] for name, member in names.items() if stored.get(name) is not None}
    if schema := shown.get("responseSchema"):
        shown["responseSchema"] = in_order(schema, stored.get("property_order") or [])
    agent = stored.get("agent")
    return {**shown, "metadata": {"agent": agent}} if agent else shown


def usage(stored: Json | None) -> Json:
    """The member `usage`, with what the provider reported; no member if it did not report all."""
    counts = (
        {member: stored[name] for name, member in _USAGE.items() if name in stored}
        if stored and not stored.get("is_estimate")
        else {}
    )
    return {"usage": [counts]} if counts.keys() - {"model"} else {}
