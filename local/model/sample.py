"""A small value that fits a JSON Schema."""

import re
from collections.abc import Mapping
from typing import Any, Final

Json = Mapping[str, Any]

#: Strings for `pattern` and `format`; the first one that fits is taken.
_STRINGS: Final = (
    "echo",
    "09:30",
    "2026-01-31",
    "2026-01-31T09:30:00Z",
    "1",
    "a@example.com",
    "ECHO",
)
_BY_FORMAT: Final = {
    "date": "2026-01-31",
    "date-time": "2026-01-31T09:30:00Z",
    "time": "09:30:00Z",
    "email": "a@example.com",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def sample(schema: Json, root: Json | None = None) -> Any:
    """A value of the schema: the required properties, the shortest lists, the smallest numbers from 1 on.

    It need not fit what one value alone cannot show, such as a pattern that none of a few strings has.
    """
    root = root or schema
    if reference := schema.get("$ref"):
        return sample(_resolve(reference, root), root)
    for key in ("const", "default"):
        if key in schema:
            return schema[key]
    for choices in ("anyOf", "oneOf", "allOf"):
        if choices in schema:
            return sample(schema[choices][0], root)
    if "enum" in schema:
        return schema["enum"][0]
    return _of_type(schema, root)


def _resolve(reference: str, root: Json) -> Json:
    found = root
    for name in reference.removeprefix("#/").split("/"):
        found = found[name]
    return found


def _of_type(schema: Json, root: Json) -> Any:
    kind = schema.get("type", "object")
    match kind[0] if isinstance(kind, list) else kind:
        case "object":
            properties = schema.get("properties", {})
            names = schema.get("required", ())
            return {name: sample(properties.get(name, {}), root) for name in names}
        case "array":
            # A type may contain lists of itself, so no item is made that is not needed.
            return [sample(schema.get("items", {}), root) for _ in range(schema.get("minItems", 0))]
        case "string":
            return _string(schema)
        case "integer" | "number":
            return _number(schema)
        case "boolean":
            return False
    return None


def _string(schema: Json) -> str:
    text = _BY_FORMAT.get(schema.get("format", "")) or _matching(schema.get("pattern", ""))
    return text.ljust(schema.get("minLength", 0), ".")[: schema.get("maxLength")]


def _matching(pattern: str) -> str:
    try:
        return next((each for each in _STRINGS if re.search(pattern, each)), _STRINGS[0])
    except re.error:
        # MCP servers in other languages have patterns that Python cannot read.
        return _STRINGS[0]


def _number(schema: Json) -> float:
    lowest: float = max(schema.get("minimum", 1), schema.get("exclusiveMinimum", 0) + 1)
    highest: float = min(
        schema.get("maximum", lowest), schema.get("exclusiveMaximum", lowest + 1) - 1
    )
    return min(lowest, highest)
