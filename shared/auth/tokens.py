"""Reads compact JWS strictly, and writes them. Any fault raises Unauthorized, without a reason."""

import json
import re
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.hashes import SHA256

from shared.auth.claims import object_of, text_of, time_of
from shared.auth.jwks import public_keys
from shared.core import Unauthorized

_MAX_TOKEN = 8192
_MIN_SECRET = 32
_TOLERANCE = 60
_MAX_LIFETIME = 150

_jws = jwt.PyJWS(options={"enforce_minimum_key_length": True})
Key = jwt.PyJWK
Keys = Mapping[tuple[str, str], Key]


def load_verification() -> None:
    """Import what the first verification would import."""
    ECDSA(SHA256())


def only(pattern: re.Pattern[str], values: Sequence[str], *, group: int) -> str:
    match = pattern.fullmatch(values[0]) if len(values) == 1 else None
    if match is None or len(match[group]) > _MAX_TOKEN:
        raise Unauthorized
    return match[group]


def header_of(token: str) -> dict[str, Any]:
    part = token.partition(".")[0]
    try:
        header = object_of(jwt.utils.base64url_decode(part))
    except ValueError:
        raise Unauthorized from None
    if "crit" in header or "b64" in header:
        raise Unauthorized
    return header


def claims_of(token: str, key: jwt.PyJWK | None) -> dict[str, Any]:
    if key is None:
        raise Unauthorized
    try:
        return object_of(_jws.decode(token, key, algorithms=[key.algorithm_name]))
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise Unauthorized from None


def statement_of(token: str, typ: str, keys: Keys, now: float) -> dict[str, Any]:
    """The claims of a token between our parts: ES256, of this `typ`, signed by a known key, valid now and briefly."""
    header = header_of(token)
    if header.get("typ") != typ or header.get("alg") != "ES256":
        raise Unauthorized
    claims = claims_of(token, keys.get(("ES256", text_of(header.get("kid")))))
    check_times(claims, now)
    if claims["exp"] - time_of(claims.get("iat")) > _MAX_LIFETIME:
        raise Unauthorized
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
    except ValueError:
        raise ValueError(f"{setting} is not a JWKS") from None


def parse_keys(text: str) -> Keys:
    keys = ((name, _key(jwk, name[0])) for name, jwk in public_keys(text).items())
    return {name: key for name, key in keys if key is not None}


def _key(jwk: dict[str, Any], alg: str) -> jwt.PyJWK | None:
    try:
        return jwt.PyJWK(jwk, alg)
    except jwt.PyJWTError:
        # One broken key must not disable the others.
        return None


def secret_key(secret: str) -> jwt.PyJWK:
    if len(secret) < _MIN_SECRET:
        raise ValueError(f"LEGACY_JWT_SECRET has fewer than {_MIN_SECRET} characters")
    return jwt.PyJWK({"kty": "oct", "k": base64url(secret.encode())}, "HS256")


def private_key(setting: str, text: str) -> tuple[Key, str]:
    """A signing key and its `kid`, from a private ES256 JWK."""
    try:
        jwk = json.loads(text)
        key, kid = Key(jwk, "ES256"), jwk["kid"]
        if not isinstance(kid, str) or "d" not in jwk:
            raise ValueError
    except (ValueError, TypeError, KeyError, AttributeError, jwt.PyJWTError):
        raise ValueError(f"{setting} is not a private ES256 key as a JWK with a kid") from None
    return key, kid


def sign(claims: Mapping[str, object], key: Key, header: Mapping[str, str]) -> str:
    """A token with these claims, signed with ES256."""
    return jwt.encode({**claims}, key.key, algorithm="ES256", headers={**header})


def base64url(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def check_times(claims: Mapping[str, Any], now: float) -> None:
    """Refuse claims that have expired or come from the future."""
    if time_of(claims.get("exp")) <= now:
        raise Unauthorized
    if any(time_of(claims[name]) > now + _TOLERANCE for name in ("nbf", "iat") if name in claims):
        raise Unauthorized
