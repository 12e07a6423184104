"""The order of a form's fields, which Postgres does not keep."""

import json
from typing import Any

import pytest

from shared.core.json import Json, in_order, property_order


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"properties": None},
        {"properties": {"zeta": {"type": "string"}, "a": True}},
        {"properties": {"seat": {"properties": {"row": {}, "b": {}, "a": {}}}, "note": {}}},
    ],
)
def test_the_order_of_a_forms_fields_outlives_jsonb(schema: Json) -> None:
    def as_jsonb(value: Any) -> Any:
        """Postgres sorts keys by their lengths first."""
        if isinstance(value, dict):
            keys = sorted(value, key=lambda key: (len(key), key))
            return {key: as_jsonb(value[key]) for key in keys}
        return [as_jsonb(each) for each in value] if isinstance(value, list) else value

    order = as_jsonb(property_order(schema))
    assert json.dumps(in_order(as_jsonb(schema), order)) == json.dumps(schema)
    assert in_order(schema, []) == schema
