"""Structured output: whether a response is JSON of the agent's model, and how one that is not is sent back."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import orjson
from pydantic import BaseModel, ValidationError

from shared.agents.failures import RunFailed
from shared.agents.turn import TurnRecorder
from shared.core import Item, clean, clean_json

#: The member of a message's data that says why the message was sent back.
FAULTS: Final = "output_faults"
_SHOWN: Final = 10
_FENCE: Final = "```"
_EMPTY: Final = "The model's response is empty, which does not fit the agent's output type."
_UNFIT_TWICE: Final = (
    "The model's response does not fit the agent's output type, and neither did the one before it."
)


class Output(NamedTuple):
    """A response as JSON of the agent's model; or, if it is not, `faults` in words for the model."""

    value: Any = None
    faults: str | None = None


def output_of(kind: type[BaseModel] | None, turn: TurnRecorder) -> Output | None:
    """The structured output of a turn that ends its run; None if it does not, or if any text will do."""
    if kind is None or turn.calls or turn.finish_reason not in ("stop", "tool_calls"):
        return None
    return read_output(kind, turn.text)


def read_output(kind: type[BaseModel], text: str) -> Output:
    """Check a response. Values are not repeated in `faults`, because the model has them."""
    try:
        value = kind.model_validate_json(_without_fence(text)).model_dump(
            mode="json", by_alias=True
        )
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        words = [
            f"{'.'.join(map(str, f['loc'])) or 'response'}: {f['msg']}" for f in faults[:_SHOWN]
        ]
        return Output(faults=clean("; ".join(words)))
    try:
        orjson.dumps(value := clean_json(value))
    except TypeError:
        return Output(faults="response: a number is too large")
    return Output(value)


def _without_fence(text: str) -> str:
    """The text without a block of Markdown around it, which servers that ignore a schema often write."""
    text = text.strip()
    if len(text) > 2 * len(_FENCE) and text.startswith(_FENCE) and text.endswith(_FENCE):
        return text[len(_FENCE) : -len(_FENCE)].removeprefix("json")
    return text


def failure_of_unfit(turn: TurnRecorder, items: Sequence[Item]) -> RunFailed | None:
    """How a response that does not fit ends its run; None: it is sent back. `items`: those before it.

    It is retryable if it leaves nothing in the thread: a thread that ends with an answer starts no run without a new
    message.
    """
    if _was_sent_back(items):
        return RunFailed("output_invalid", _UNFIT_TWICE, retryable=False)
    if turn.text:
        return None
    # A response without text cannot be stored, so it cannot be sent back.
    return RunFailed("output_invalid", _EMPTY, retryable=not turn.items)


def _was_sent_back(items: Sequence[Item]) -> bool:
    """Whether a response was sent back since the last message of the user."""
    for item in reversed(items):
        if FAULTS in item.data:
            return True
        if item.kind == "message" and item.data["role"] == "user":
            break
    return False


def with_corrections(items: Sequence[Item]) -> list[Item]:
    """The items as the model reads them: a message that was sent back is followed by the reason."""
    return [shown for item in items for shown in (item, *_correction(item))]


def _correction(item: Item) -> list[Item]:
    if FAULTS not in item.data:
        return []
    text = f"Your response does not fit the required JSON Schema: {item.data[FAULTS]}. Respond again, with JSON only."
    return [Item(f"{item.key}-correction", "message", {"role": "user", "content": text})]
