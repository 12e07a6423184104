"""The values that a tool's question wants, read from the JSON Schema of the answer, whatever a server wrote there.

It knows what the client's form.js does: MCP's elicitation, objects in objects, optional values, and references.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from itertools import islice
from typing import Any, Final, NamedTuple

from shared.core import Json

#: Groups in groups are shown to this depth. Several questions need one, and a reference to itself has no end.
_DEPTH: Final = 3
#: More values than this are no form; references can make a small schema as large as they like.
_FIELDS: Final = 500
#: Values in the example of an answer, by their type.
_EXAMPLES: Final[Mapping[str, Any]] = {"integer": 1, "number": 1.5, "boolean": True, "array": []}


class Field(NamedTuple):
    """One value of an answer: the keys that lead to it, and its JSON Schema."""

    path: tuple[str, ...]
    schema: Json
    is_required: bool

    @property
    def kind(self) -> str:
        """The name of its JSON type, or `any`."""
        return str(self.schema.get("type", "any"))

    def __str__(self) -> str:
        """What the user reads: the path, the type, and what else the schema says."""
        about = self.schema.get("description") or self.schema.get("title")
        details = [str(about)] if about else []
        if not self.is_required:
            default = self.schema.get("default")
            details.append("optional" if default is None else f"default {json.dumps(default)}")
        more = f" ({'; '.join(details)})" if details else ""
        return f"{'.'.join(self.path)}: {_kind(self.schema)}{more}"


def fields_of(schema: Any) -> list[Field]:
    """The values of an answer, at most 500. Several questions are an object each."""
    root = _resolve(schema, _record(_record(schema).get("$defs")))
    return [*islice(_fields(root, (), {}), _FIELDS)]


def example_of(fields: Sequence[Field]) -> str:
    """An answer as JSON with all that is required, or with everything if nothing is."""
    example: dict[str, Any] = {}
    for field in [each for each in fields if each.is_required] or fields:
        *groups, key = field.path
        inside = reduce(lambda group, name: group.setdefault(name, {}), groups, example)
        inside[key] = next(iter(_options(field.schema)), _EXAMPLES.get(field.kind, "…"))
    return json.dumps(example, ensure_ascii=False)


def _fields(schema: Any, path: tuple[str, ...], definitions: Json) -> Iterator[Field]:
    own = _record(schema)
    definitions = _record(own.get("$defs")) or definitions
    required = _list(own.get("required"))
    for name, property_schema in _record(own.get("properties")).items():
        inner = _resolve(property_schema, definitions)
        at = (*path, name)
        if _record(inner.get("properties")) and len(at) < _DEPTH:
            yield from _fields(inner, at, definitions)
        else:
            yield Field(at, inner, name in required)


def _resolve(schema: Any, definitions: Json, steps: int = 9) -> Json:
    """What a reference, or a type that may also be null, stands for."""
    own = dict(_record(schema))
    if steps and (name := str(own.pop("$ref", ""))):
        return _resolve(
            {**_record(definitions.get(name.removeprefix("#/$defs/"))), **own},
            definitions,
            steps - 1,
        )
    kinds = [kind for kind in _list(own.get("type")) if kind != "null"]
    if kinds:
        own["type"] = kinds[0]
    others = [each for each in _list(own.get("anyOf")) if _record(each).get("type") != "null"]
    if steps and len(others) == 1:
        del own["anyOf"]
        return _resolve({**_record(others[0]), **own}, definitions, steps - 1)
    return own


def _kind(schema: Json) -> str:
    if schema.get("type") == "array":
        return f"list of {_kind(_record(schema.get('items')))}"
    return " or ".join(map(str, _options(schema))) or str(schema.get("type", "any"))


def _options(schema: Json) -> list[Any]:
    titled = _list(schema.get("oneOf")) or _list(schema.get("anyOf"))
    return _list(schema.get("enum")) or [
        each["const"] for each in map(_record, titled) if "const" in each
    ]


def _record(value: Any) -> Json:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
