"""Checks arguments against a tool's JSON Schema. The only user of `jsonschema_rs`, which the first call imports."""

from collections.abc import Callable
from datetime import date, datetime, time
from functools import cache, lru_cache, partial
from itertools import islice
from typing import Any, Final
from uuid import UUID

import orjson
from pydantic import TypeAdapter, ValidationError

from shared.core import Json

_FAULTS = 5
#: Formats that servers read alike. Pydantic reads more than the standards allow, such as a UUID without hyphens.
_TYPES: Final = {
    "uuid": UUID,
    "date": date,
    "date-time": datetime,
    "time": time,
}
#: Formats that servers read each in their own way, so only the tool can say what fits.
_UNCHECKED: Final = (
    *("duration", "email", "idn-email", "hostname", "idn-hostname", "ipv4", "ipv6", "regex"),
    *("uri", "uri-reference", "uri-template", "iri", "iri-reference"),
    *("json-pointer", "relative-json-pointer"),
)


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
        return jsonschema_rs.validator_for(
            orjson.loads(schema), offline=True, validate_formats=True, formats=_formats()
        )
    except (ValueError, jsonschema_rs.ReferencingError):
        return None


@cache
def _formats() -> dict[str, Callable[[str], bool]]:
    read = {name: partial(_is_read, TypeAdapter(kind)) for name, kind in _TYPES.items()}
    return {**dict.fromkeys(_UNCHECKED, lambda _: True), **read}


def _is_read(kind: TypeAdapter[Any], text: str) -> bool:
    try:
        kind.validate_python(text)
    except ValidationError:
        return False
    return True
