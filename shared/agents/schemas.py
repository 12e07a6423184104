"""Checks arguments against a tool's JSON Schema. The only user of `jsonschema_rs`, which the first call imports."""

from functools import lru_cache
from itertools import islice
from typing import Any

import orjson

from shared.core import Json

_FAULTS = 5


def fault(schema: Json, value: Any) -> str | None:
    """What is wrong with the value, in words for its author; None: nothing.

    If the schema is invalid, nothing is checked: the tool itself rejects what it cannot take.
    """
    validator = _validator(orjson.dumps(schema, option=orjson.OPT_SORT_KEYS))
    if validator is None:
        return None
    faults = islice(validator.iter_errors(value), _FAULTS)
    return "; ".join(map(_words, faults)) or None


def load_validation() -> None:
    """Import the library before a call needs it."""
    _validator(b"{}")


def _words(error: Any) -> str:
    place = ".".join(map(str, error.instance_path))
    return f"{place}: {error.message}" if place else str(error.message)


@lru_cache(maxsize=512)
def _validator(schema: bytes) -> Any:
    import jsonschema_rs

    try:
        # What a foreign server wrote must not make this process fetch anything.
        return jsonschema_rs.validator_for(orjson.loads(schema), offline=True)
    except (ValueError, jsonschema_rs.ReferencingError):
        return None
