"""JSON that Postgres can store, and its canonical form."""

from typing import Any

import orjson

Json = dict[str, Any]


def canonical(value: Any) -> bytes:
    """The canonical form of this JSON, for hashing: cleaned, with sorted keys."""
    return orjson.dumps(clean_json(value), option=orjson.OPT_SORT_KEYS)


def clean(text: str) -> str:
    """The text without what Postgres cannot store: NUL and lone surrogates become U+FFFD."""
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
    """The same JSON with every text cleaned."""
    match value:
        case str():
            return clean(value)
        case list():
            return [clean_json(entry) for entry in value]
        case dict():
            return {clean(key): clean_json(entry) for key, entry in value.items()}
    return value


def property_order(schema: Any) -> list[list[Any]]:
    """The names of a JSON Schema's properties in their order, each with those inside it: [[name, [[name, []]]]].

    For jsonb, which keeps the order of lists and not that of keys.
    """
    properties = schema.get("properties") if isinstance(schema, dict) else None
    named = properties.items() if isinstance(properties, dict) else ()
    return [[name, property_order(inner)] for name, inner in named]


def in_order(schema: Json, order: list[list[Any]]) -> Json:
    """The same schema with its properties in that order, in which a form shows them."""
    properties = schema.get("properties")
    if not (order and isinstance(properties, dict)):
        return schema
    ordered = {
        name: in_order(properties[name], inside) if inside else properties[name]
        for name, inside in order
        if name in properties
    }
    return {**schema, "properties": ordered}
