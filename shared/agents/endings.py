"""How a turn ends its run."""

from typing import Final

from shared.agents.output import Output
from shared.agents.turn import TurnRecorder
from shared.core import Draft, Usage
from shared.models import FinishReason

#: The turns that end a run as incomplete, and the reasons it gives.
INCOMPLETE: Final[dict[FinishReason, str]] = {
    "length": "max_output_tokens",
    "content_filter": "content_filter",
}
#: Those of an agent with structured output: another request would bring the same refusal, and no result.
INCOMPLETE_WITHOUT_OUTPUT: Final[dict[FinishReason, str]] = {**INCOMPLETE, "refusal": "refusal"}


def ending_of(turn: TurnRecorder, output: Output | None, reason: str | None, usage: Usage) -> Draft:
    """The ending of a run after its last turn. `reason`: why it is incomplete."""
    used = {"usage": usage.to_json()}
    if reason:
        return Draft("run.incomplete", None, {"reason": reason, **used})
    pending = [call.id for call in turn.calls if call.executor == "client"]
    result = {} if output is None else {"output": output.value}
    return Draft("run.completed", None, {**used, **result, "pending_calls": pending})
