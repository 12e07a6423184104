"""Cursors: opaque places in a list, which clients send back unchanged."""

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

import orjson
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
)

from shared.core import InvalidCursor, Json


class _Place(BaseModel):
    model_config = ConfigDict(extra="forbid")


def _is_utc(at: datetime) -> datetime:
    # In UTC, as lists show times; Postgres knows fewer time zones than ISO 8601.
    if at.utcoffset() != timedelta(0):
        raise ValueError("not in UTC")
    return at


class Moment(_Place):
    """The place after a row of a list in the order of time."""

    at: Annotated[AwareDatetime, AfterValidator(_is_utc)]
    id: UUID


class Position(_Place):
    """The place of an item."""

    position: Annotated[int, Field(ge=0, lt=2**63)]


_MOMENT: TypeAdapter[Moment] = TypeAdapter(Moment)
_POSITION: TypeAdapter[Position] = TypeAdapter(Position)
_HIT: TypeAdapter[Moment | Position] = TypeAdapter(Moment | Position)


def to_cursor(row: Json, *members: str) -> str:
    """The cursor of a row's place, which these members of it make up."""
    place = {name: row[name] for name in members}
    return urlsafe_b64encode(orjson.dumps(place)).rstrip(b"=").decode()


def moment(cursor: str | None) -> Json | None:
    """Read a cursor of a list in the order of time.

    Raises:
        InvalidCursor: it is none.
    """
    return _read(_MOMENT, cursor)


def position(cursor: str | None) -> int | None:
    """Read a cursor among items; raises as `moment` does."""
    place = _read(_POSITION, cursor)
    return None if place is None else int(place["position"])


def hit(cursor: str | None) -> Json | None:
    """Read a cursor among the hits of a search, titles or messages; raises as `moment` does."""
    return _read(_HIT, cursor)


def _read(kind: TypeAdapter[Any], cursor: str | None) -> Json | None:
    if cursor is None:
        return None
    try:
        text = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        return kind.dump_python(kind.validate_json(text), mode="json")  # type: ignore[no-any-return]
    except (ValidationError, binascii.Error, ValueError):
        raise InvalidCursor("The cursor is not one this list gave.") from None
