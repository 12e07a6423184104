"""The SQL of the two kinds of statement: a function call, and the start of a session. Pure."""

import json
import re
from collections.abc import Mapping
from typing import Any

import orjson

_FUNCTION = re.compile(r"[a-z_]+\Z")


def call_of(function: str, arguments: tuple[Any, ...]) -> str:
    """The SQL that calls a function of schema `agent`."""
    if not _FUNCTION.match(function):
        raise ValueError(f"{function!r} is not the name of a function")
    return f"agent.{function}({', '.join(f'${n}' for n in range(1, len(arguments) + 1))})"


def to_driver(arguments: tuple[Any, ...]) -> list[Any]:
    """Arguments as the driver takes them: JSON as text."""
    return [orjson.dumps(a).decode() if isinstance(a, dict | list) else a for a in arguments]


def session_of(claims: Mapping[str, object], seconds: float) -> str:
    """The SQL that begins a transaction and becomes the user, in one round trip.

    It is a simple query, so its values are literals. The caller cannot choose the role. The claims are ASCII JSON with
    doubled quotes, which cannot end the literal while standard_conforming_strings is on (the default since 9.1).
    """
    literal = json.dumps(claims, ensure_ascii=True).replace("'", "''")
    return (
        "begin; select set_config('role', 'authenticated', true),"
        f" set_config('request.jwt.claims', '{literal}', true),"
        " set_config('request.jwt.claim', '', true), set_config('request.jwt.claim.sub', '', true),"
        f" set_config('statement_timeout', '{int(seconds * 1000)}', true)"
    )
