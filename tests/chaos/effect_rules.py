"""What the effects of tools must be, compared with the threads."""

from typing import Any

from tests.chaos.effects import Effects
from tests.chaos.findings import Finding
from tests.chaos.record import Record, results
from tests.chaos.script import CHARGE


def effect_findings(record: Record, effects: Effects) -> list[Finding]:
    """Every invariant about effects, with the ids of the calls that broke it."""
    happened = effects.happened()
    lost = [
        item["data"]["call_id"]
        for item in results(record)
        if "status" not in item["data"] and item["data"]["call_id"] not in happened
    ]
    calls = {
        i["key"]: i for items in record.items.values() for i in items if i["kind"] == "tool_call"
    }
    silent = [
        id_
        for name, id_ in effects.done
        if name == CHARGE and not _is_accounted(id_, calls, record)
    ]
    return [
        Finding("effects repeated", effects.repeated()),
        Finding("effects lost", lost),
        Finding("effects before they were in the log", effects.early),
        Finding("effects missing in the thread", silent),
    ]


def _is_accounted(call_id: str, calls: dict[str, Any], record: Record) -> bool:
    """Whether the thread has the call, with a result or in a run that was cancelled over it."""
    if call_id not in calls:
        return False
    if record.runs[calls[call_id]["run"]]["status"] == "cancelled":
        return True
    return any(item["data"]["call_id"] == call_id for item in results(record))
