"""Strict readers of a token's members. Anything unexpected raises Unauthorized, with a reason for the log."""

import json
import math
import re
from collections.abc import Mapping
from typing import Any, NoReturn
from uuid import UUID

from shared.core import Unauthorized

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def object_of(text: bytes) -> dict[str, Any]:
    try:
        value = json.loads(text.decode(), parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise Unauthorized("not_json") from None
    if not isinstance(value, dict):
        raise Unauthorized("not_json")
    return value


def default_of(value: object, default: object) -> object:
    # Supabase writes null for a missing member.
    return default if value is None else value


def uuid_of(value: object, name: str) -> UUID:
    text = text_of(value, name)
    if _UUID.fullmatch(text) is None:
        raise _invalid(name)
    return UUID(text)


def text_of(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise _invalid(name)
    return value


def time_of(value: object, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _invalid(name)
    try:
        time = float(value)
    except OverflowError:
        raise _invalid(name) from None
    if not math.isfinite(time):
        raise _invalid(name)
    return time


def role_of(claims: Mapping[str, Any]) -> str | None:
    """A user's role in the app, from verified claims: that of app_metadata, which users cannot write."""
    metadata = claims.get("app_metadata")
    role = metadata.get("role") if isinstance(metadata, dict) else None
    return role if isinstance(role, str) else None


def _invalid(name: str) -> Unauthorized:
    """The refusal of a member that is missing, or that is not what it must be."""
    return Unauthorized(f"invalid_{name}")


def _refuse(_: str) -> NoReturn:
    raise Unauthorized("not_json")
