"""The JSON Schema of a tool's arguments as models' APIs take it.

They refuse a whole request for one schema that JSON Schema and MCP allow. The model gets a schema that says as much as
possible; arguments are still checked against the tool's own.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

import orjson

from shared.core import Json

_COMBINATIONS: Final = ("allOf", "anyOf", "oneOf")
#: No API takes these at the top.
_NOT_AT_THE_TOP: Final = ("enum", "const", "not", "if", "then", "else", "$ref", *_COMBINATIONS)
_SCHEMAS_BY_NAME: Final = ("properties", "$defs", "definitions", "patternProperties")
_LISTS_OF_SCHEMAS: Final = (*_COMBINATIONS, "prefixItems")
_MOST_LEVELS: Final = 48
_MOST_PARTS: Final = 200


def parameters_of(schema: Any) -> Json:
    """The schema of an object, with `type` and `properties`, without a combination or a reference at the top."""
    try:
        return _of_text(orjson.dumps(schema))
    except TypeError:
        return _normalized(schema)


@lru_cache(maxsize=2048)
def _of_text(schema: bytes) -> Json:
    # A run offers the same tools in each of its turns. Nobody changes the result.
    return _normalized(orjson.loads(schema))


def _normalized(schema: Any) -> Json:
    merged = _Merger(schema if isinstance(schema, dict) else {}).merged()
    rest = {name: value for name, value in merged.items() if name not in _NOT_AT_THE_TOP}
    walked: Json = _walked({**rest, "type": "object"}, _MOST_LEVELS)
    walked.setdefault("properties", {})
    return walked


class _Merger:
    """Merges what references and combinations at the top of a schema say about its properties."""

    def __init__(self, root: Json) -> None:
        self._root = root
        #: References may lead in a circle, or multiply.
        self._left = _MOST_PARTS

    def merged(self) -> Json:
        return self._merge(self._root)

    def _merge(self, part: Any) -> Json:
        self._left -= 1
        if not isinstance(part, dict) or self._left < 0:
            return {}
        schema = self._resolve(part)
        properties, required = _properties(schema), _required(schema)
        for word in _COMBINATIONS:
            branches = [self._merge(branch) for branch in _list(schema.get(word))]
            for branch in branches:
                properties = _joined(properties, _properties(branch))
            required += _required_by(word, branches)
        schema.pop("required", None)
        needed: Json = {"required": [*dict.fromkeys(required)]} if required else {}
        return {**schema, "properties": properties, **needed}

    def _resolve(self, schema: Json) -> Json:
        """A copy in which what a reference means stands in its place."""
        resolved = dict(schema)
        while (reference := resolved.pop("$ref", None)) and self._left > 0:
            self._left -= 1
            resolved = {**self._target(reference), **resolved}
        return resolved

    def _target(self, reference: Any) -> Json:
        """What a reference inside the schema means; nothing if it leads elsewhere."""
        place: Any = self._root
        if not isinstance(reference, str) or not reference.startswith("#/"):
            return {}
        for name in reference[2:].split("/"):
            word = name.replace("~1", "/").replace("~0", "~")
            place = place.get(word) if isinstance(place, dict) else None
        return place if isinstance(place, dict) else {}


def _joined(properties: Json, more: Mapping[str, Any]) -> Json:
    """The properties of both; one that they describe differently may be either."""
    joined = dict(properties)
    for name, schema in more.items():
        known = joined.get(name, schema)
        if known == schema:
            joined[name] = schema
            continue
        choices = known.get("anyOf", [known]) if isinstance(known, dict) else [known]
        joined[name] = {"anyOf": choices if schema in choices else [*choices, schema]}
    return joined


def _required_by(word: str, branches: list[Json]) -> list[str]:
    """What is required whichever branch holds; of `allOf`, what any of them requires."""
    each = [_required(branch) for branch in branches]
    if word == "allOf":
        return [name for names in each for name in names]
    return [name for name in each[0] if all(name in names for names in each)] if each else []


def _properties(schema: Json) -> Json:
    properties = schema.get("properties")
    return properties if isinstance(properties, dict) else {}


def _required(schema: Json) -> list[str]:
    return [name for name in _list(schema.get("required")) if isinstance(name, str)]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _walked(schema: Any, levels: int) -> Any:
    """A schema in which each array has `items`, and each property a schema."""
    if isinstance(schema, bool):
        return schema
    if not isinstance(schema, dict) or not levels:
        return {}
    walked = {name: value for name, value in schema.items() if value is not None}
    for name in _SCHEMAS_BY_NAME:
        if isinstance(inner := walked.get(name), dict):
            walked[name] = {key: _walked(each, levels - 1) for key, each in inner.items()}
        else:
            walked.pop(name, None)
    for name in _LISTS_OF_SCHEMAS:
        if name in walked:
            walked[name] = [_walked(each, levels - 1) for each in _list(walked[name])]
    _describe_items(walked, levels)
    if not isinstance(walked.get("required", []), list):
        # In an early draft it was a member of the property itself.
        del walked["required"]
    return walked


def _describe_items(walked: Json, levels: int) -> None:
    items, kind = walked.get("items"), walked.get("type")
    if isinstance(items, list):
        # The form of a tuple before 2020-12.
        walked["items"] = {"anyOf": [_walked(each, levels - 1) for each in items]} if items else {}
    elif items is not None:
        walked["items"] = _walked(items, levels - 1)
    elif kind == "array" or (isinstance(kind, list) and "array" in kind):
        walked["items"] = {}
