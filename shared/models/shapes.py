"""Members of a provider's answers that come in several shapes."""

import json
from typing import Any, Final

from shared.core import Json, clean, clean_json

#: More than any turn has; a day of such turns still fits into a `bigint`.
_MOST_TOKENS: Final = 1 << 40
#: Where an object has its text, as providers write reasoning.
_TEXTS: Final = ("text", "summary", "content", "thinking", "reasoning")


def text_in(value: Any) -> str:
    """The text of a value of any shape: a text, or the texts in a list or an object; empty if it has none."""
    match value:
        case str():
            return value
        case list():
            return "".join(map(text_in, value))
        case dict():
            return next((text for name in _TEXTS if (text := text_in(value.get(name)))), "")
    return ""


def arguments_in(value: Any) -> str:
    """The arguments of a call, or a piece of them, as a text. Some servers send an object instead."""
    if value is None:
        return ""
    if isinstance(value, str):
        return clean(value)
    return json.dumps(clean_json(value), ensure_ascii=False)


def members(value: Any) -> Json:
    """An object's members; none if it is no object."""
    return value if isinstance(value, dict) else {}


def count(value: object) -> int | None:
    """A number of tokens; None if it is none, or one that is too large for Postgres to add up."""
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if 0 <= value <= _MOST_TOKENS else None
