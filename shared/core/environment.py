"""Reads settings from environment variables: each value by its type, and within its range."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin, get_type_hints
from urllib.parse import urlsplit


class InvalidSettings(Exception):
    """A setting is missing or cannot be used; the message names it and says what it takes."""


class Range(NamedTuple):
    """The least and the most a number may be. What is outside of it is a slip, or would do harm."""

    least: float
    most: float


class HttpAddress:
    """Marks a text as an http(s) address: without a user, spaces, `<`, `>`, or characters that are not ASCII.

    A user would be ignored, and the rest would be sent as it is, in the first line of each request.
    """


_DAY: float = 86_400
_YEAR_HOURS: float = 24 * 366
Port = Annotated[int, Range(1, 65_535)]
#: A wait that may not be zero, and one that may.
Seconds = Annotated[float, Range(0.001, _DAY)]
SecondsOrZero = Annotated[float, Range(0, _DAY)]
Hours = Annotated[float, Range(0.01, 10 * _YEAR_HOURS)]
Count = Annotated[int, Range(1, 100_000)]
Address = Annotated[str, HttpAddress()]

#: What a value must be, by its type.
_KINDS = {int: "a whole number", float: "a number"}
_WORDS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


def read_settings(kind: type, environ: Mapping[str, str]) -> dict[str, Any]:
    """The values that the environment has for a dataclass's fields; an empty variable counts as absent.

    A variable is its field's name in capitals. A field with the metadata `prefix` takes all variables that begin so.

    Raises:
        InvalidSettings: a value is not UTF-8, not of its field's type, none of its words, or outside its range.
    """
    types = get_type_hints(kind, include_extras=True)
    values: dict[str, Any] = {}
    for field in fields(kind):
        if prefix := field.metadata.get("prefix"):
            values[field.name] = _with_prefix(prefix, environ)
        elif text := environ.get(name := field.name.upper(), "").strip():
            values[field.name] = _read(name, types[field.name], _checked(name, text))
    return values


def unreadable(kind: type, environ: Mapping[str, str]) -> dict[str, str]:
    """The sentence of each variable that `read_settings` refuses, by the variable's name."""
    sentences = {}
    for name, value in environ.items():
        try:
            read_settings(kind, {name: value})
        except InvalidSettings as error:
            sentences[name] = str(error)
    return sentences


def _with_prefix(prefix: str, environ: Mapping[str, str]) -> dict[str, str]:
    return {
        name.removeprefix(prefix): _checked(name, value)
        for name, value in environ.items()
        if name.startswith(prefix) and value
    }


def _checked(name: str, text: str) -> str:
    """The text, if it can be sent and stored: bytes that are not UTF-8 come as lone surrogates, which cannot."""
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise InvalidSettings(f"{name} is not UTF-8.")
    return text


def _read(name: str, kind: Any, text: str) -> object:
    """A value of that type, which may be annotated with its `Range`, or is one of a few words."""
    allowed: Range | HttpAddress | None = None
    if get_origin(kind) is Literal:
        return _word(name, get_args(kind), text)
    if get_origin(kind) is Annotated:
        kind, allowed = get_args(kind)
    try:
        value: object = _WORDS[text.lower()] if kind is bool else kind(text)
    except (ValueError, KeyError):
        wanted = _KINDS.get(kind, f"one of {', '.join(_WORDS)}")
        raise InvalidSettings(f"{name} must be {wanted}.") from None
    if isinstance(allowed, HttpAddress) and not is_http_address(text):
        raise InvalidSettings(
            f"{name} must be an http(s) address in ASCII, without spaces, `<`, `>` and a user name."
        )
    if isinstance(allowed, Range) and isinstance(value, int | float):
        _check_range(name, value, allowed)
    return value


def _check_range(name: str, value: float, allowed: Range) -> None:
    if not allowed.least <= value <= allowed.most:
        limits = f"from {allowed.least:.15g} to {allowed.most:.15g}"
        raise InvalidSettings(f"{name} must be {limits}.")


def is_http_address(text: str) -> bool:
    """Whether a text is an address as `HttpAddress` describes it."""
    # Brackets are of an example's placeholder (`<ref>`); RFC 3986 allows them nowhere in an address.
    if not text.isascii() or not text.isprintable() or set(text) & set(" <>"):
        return False
    try:
        parts = urlsplit(text)
        # Reading the port checks it.
        is_http = parts.scheme in ("http", "https") and parts.port != 0
    except ValueError:
        return False
    return is_http and bool(parts.hostname) and parts.username is None


def _word(name: str, words: tuple[str, ...], text: str) -> str:
    if match := next((word for word in words if word.lower() == text.lower()), None):
        return match
    raise InvalidSettings(f"{name} must be one of {', '.join(words)}.")
