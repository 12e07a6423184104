"""The text of the two kinds of statement there are: a call of a function, and the head of a session. Pure."""

import json
import re
from collections.abc import Mapping
from typing import Any

import orjson

_FUNCTION = re.compile(r"[a-z_]+\Z")


def call_of(function: str, arguments: tuple[Any, ...]) -> str:
    """The text that calls a function of schema `agent`."""
    if not _FUNCTION.match(function):
        raise ValueError(f"{function!r} is not the name of a function")
    return f"agent.{function}({', '.join(f'${n}' for n in range(1, len(arguments) + 1))})"


def written(arguments: tuple[Any, ...]) -> list[Any]:
    """Arguments as the driver takes them: JSON is text."""
    return [orjson.dumps(a).decode() if isinstance(a, dict | list) else a for a in arguments]


def session_of(claims: Mapping[str, object], seconds: float) -> str:
    """Begin and become the user in one trip: a simple query, so its values are literals.

    The role is not the caller's to choose. The claims are JSON in ASCII, with quotes doubled, which no literal can
    escape while standard_conforming_strings is on (the default since Postgres 9.1).
    """
    literal = json.dumps(claims, ensure_ascii=True).replace("'", "''")
    return (
        "begin; select set_config('role', 'authenticated', true),"
        f" set_config('request.jwt.claims', '{literal}', true),"
        " set_config('request.jwt.claim', '', true), set_config('request.jwt.claim.sub', '', true),"
        f" set_config('statement_timeout', '{int(seconds * 1000)}', true)"
    )
