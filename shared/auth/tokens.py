"""Reads compact JWS strictly, and writes them. Any fault raises Unauthorized, with a reason for the log."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from shared.auth.claims import object_of, text_of, time_of
from shared.auth.jwks import public_keys
from shared.auth.signatures import (
    Key,
    PrivateKey,
    Secret,
    decode,
    payload_of,
    read_private_key,
    read_public_key,
)
from shared.core import TokenTooLarge, Unauthorized

_MAX_TOKEN = 8192
_MIN_SECRET = 32
_TOLERANCE = 60
_MAX_LIFETIME = 150

Keys = Mapping[tuple[str, str], Key]


@contextmanager
def naming(proof: str) -> Iterator[None]:
    """Name the proof in the reasons of refusals inside the block: `<proof>.<reason>`."""
    try:
        yield
    except (Unauthorized, TokenTooLarge) as error:
        error.reason = f"{proof}.{error.reason}"
        raise


def only(pattern: re.Pattern[str], values: Sequence[str], *, group: int) -> str:
    """The token of a header, which the request must have once.

    Raises:
        Unauthorized: it is missing, repeated or malformed.
        TokenTooLarge: it is over the limit.
    """
    if len(values) != 1:
        raise Unauthorized("repeated" if values else "missing")
    match = pattern.fullmatch(values[0])
    if match is None:
        raise Unauthorized("malformed")
    if len(match[group]) > _MAX_TOKEN:
        refusal = TokenTooLarge()
        refusal.reason = "too_large"
        raise refusal
    return match[group]


def path_of(assertion: str) -> str | None:
    """The path that an assertion names, without a check of its signature; None if it names none."""
    try:
        path = object_of(decode(assertion.split(".")[1])).get("htu")
    except (IndexError, ValueError, Unauthorized):
        return None
    return path if isinstance(path, str) else None


def header_of(token: str) -> dict[str, Any]:
    part = token.partition(".")[0]
    try:
        header = object_of(decode(part))
    except ValueError:
        raise Unauthorized("not_base64url") from None
    if "crit" in header or "b64" in header:
        raise Unauthorized("unknown_extension")
    text_of(header.get("kid", ""), "kid")
    return header


def claims_of(token: str, key: Key | None) -> dict[str, Any]:
    """The claims of a token that this key has signed with its own algorithm."""
    if key is None:
        raise Unauthorized("unknown_key")
    if header_of(token).get("alg") != key.alg:
        raise Unauthorized("invalid_alg")
    payload = payload_of(token, key)
    if payload is None:
        raise Unauthorized("invalid_signature")
    return object_of(payload)


def statement_of(token: str, typ: str, keys: Keys, now: float) -> dict[str, Any]:
    """The claims of a token between our parts: ES256, of this `typ`, signed by a known key, valid now and briefly."""
    header = header_of(token)
    if header.get("typ") != typ:
        raise Unauthorized("invalid_typ")
    if header.get("alg") != "ES256":
        raise Unauthorized("invalid_alg")
    claims = claims_of(token, keys.get(("ES256", text_of(header.get("kid"), "kid"))))
    check_times(claims, now)
    if claims["exp"] - time_of(claims.get("iat"), "iat") > _MAX_LIFETIME:
        raise Unauthorized("valid_for_too_long")
    return claims


def statement_keys(setting: str, text: str) -> Keys:
    """The keys that verify such tokens.

    Raises:
        ValueError: there is no ES256 key among them.
    """
    keys = inline_keys(setting, text)
    if not any(alg == "ES256" for alg, _ in keys):
        raise ValueError(f"{setting} holds no ES256 public key with a kid")
    return keys


def inline_keys(setting: str, text: str) -> Keys:
    try:
        return parse_keys(text)
    except (ValueError, RecursionError):
        raise ValueError(f"{setting} is not a JWKS") from None


def parse_keys(text: str) -> Keys:
    keys = ((name, _key(jwk)) for name, jwk in public_keys(text).items())
    return {name: key for name, key in keys if key is not None}


def _key(jwk: dict[str, Any]) -> Key | None:
    try:
        return read_public_key(jwk)
    except (ValueError, TypeError, KeyError):
        # One broken key must not disable the others.
        return None


def secret_key(secret: str) -> Key:
    if len(secret) < _MIN_SECRET:
        raise ValueError(f"LEGACY_JWT_SECRET has fewer than {_MIN_SECRET} characters")
    if secret.lstrip().startswith("-----BEGIN"):
        raise ValueError("LEGACY_JWT_SECRET is a PEM file, not the project's secret")
    return Secret(secret.encode())


def private_key(setting: str, text: str) -> tuple[PrivateKey, str]:
    """A signing key and its `kid`, from a private ES256 JWK."""
    try:
        jwk = json.loads(text)
        key, kid = read_private_key(jwk), jwk["kid"]
        if not isinstance(kid, str):
            raise ValueError
    except (ValueError, TypeError, KeyError, RecursionError):
        raise ValueError(f"{setting} is not a private ES256 key as a JWK with a kid") from None
    return key, kid


def check_times(claims: Mapping[str, Any], now: float) -> None:
    """Refuse claims that have expired or come from the future."""
    if time_of(claims.get("exp"), "exp") <= now:
        raise Unauthorized("expired")
    names = [name for name in ("nbf", "iat") if name in claims]
    if any(time_of(claims[name], name) > now + _TOLERANCE for name in names):
        raise Unauthorized("from_the_future")
