"""JSON as the database can keep it, and the one way to write it."""

from typing import Any

import orjson

Json = dict[str, Any]


def canonical(value: Any) -> bytes:
    """The one way to write this JSON, to be hashed."""
    return orjson.dumps(clean_json(value), option=orjson.OPT_SORT_KEYS)


def clean(text: str) -> str:
    """The text as Postgres can keep it: NUL and lone surrogates become U+FFFD."""
    if "\0" in text:
        text = text.replace("\0", "\ufffd")
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def clean_json(value: Any) -> Any:
    """The same JSON as Postgres can keep it."""
    match value:
        case str():
            return clean(value)
        case list():
            return [clean_json(entry) for entry in value]
        case dict():
            return {clean(key): clean_json(entry) for key, entry in value.items()}
    return value
