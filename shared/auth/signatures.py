"""Compact JWS (RFC 7515) with ES256, RS256 and HS256, by the primitives of `cryptography`.

PyJWT would add 25 ms of imports to a cold start, most of them for X.509. The tests compare both on altered tokens.
"""

import hashlib
import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.hashes import SHA256

#: Bytes of each coordinate of P-256, and of each half of an ES256 signature (RFC 7518 §3.4).
_P256: Final = 32
_ES256: Final = ec.ECDSA(SHA256())
_RSA_BITS: Final = 2048


class Key(Protocol):
    """A key that verifies one algorithm's signatures."""

    @property
    def alg(self) -> str: ...

    def verify(self, data: bytes, signature: bytes) -> bool: ...


@dataclass(frozen=True, slots=True)
class Secret:
    """An HS256 key."""

    value: bytes
    alg: str = "HS256"

    def verify(self, data: bytes, signature: bytes) -> bool:
        expected = hmac.new(self.value, data, hashlib.sha256).digest()
        return hmac.compare_digest(expected, signature)


@dataclass(frozen=True, slots=True)
class RsaKey:
    """An RS256 key."""

    public: rsa.RSAPublicKey
    alg: str = "RS256"

    def verify(self, data: bytes, signature: bytes) -> bool:
        return _accepts(self.public.verify, signature, data, padding.PKCS1v15(), SHA256())


@dataclass(frozen=True, slots=True)
class EcKey:
    """An ES256 key."""

    public: ec.EllipticCurvePublicKey
    alg: str = "ES256"

    def verify(self, data: bytes, signature: bytes) -> bool:
        if len(signature) != 2 * _P256:
            return False
        r, s = (int.from_bytes(half, "big") for half in (signature[:_P256], signature[_P256:]))
        return _accepts(self.public.verify, encode_dss_signature(r, s), data, _ES256)


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """A private ES256 key."""

    private: ec.EllipticCurvePrivateKey

    @property
    def public(self) -> EcKey:
        return EcKey(self.private.public_key())

    def sign(self, data: bytes) -> bytes:
        r, s = decode_dss_signature(self.private.sign(data, _ES256))
        return r.to_bytes(_P256, "big") + s.to_bytes(_P256, "big")


def read_public_key(jwk: Mapping[str, Any]) -> Key:
    """The key of a public EC or RSA JWK (RFC 7518 §6).

    Raises:
        ValueError, TypeError, KeyError: it is no key that these algorithms can use.
    """
    if jwk["kty"] == "EC":
        return EcKey(_point(jwk).public_key())
    numbers = rsa.RSAPublicNumbers(_number(jwk["e"]), _number(jwk["n"]))
    if numbers.n.bit_length() < _RSA_BITS:
        raise ValueError("the RSA key is too short")
    return RsaKey(numbers.public_key())


def read_private_key(jwk: Mapping[str, Any]) -> PrivateKey:
    """The key of a private P-256 JWK; raises as `read_public_key` does."""
    if (jwk["kty"], jwk["crv"]) != ("EC", "P-256"):
        raise ValueError("not a P-256 key")
    return PrivateKey(
        ec.EllipticCurvePrivateNumbers(_coordinate(jwk["d"]), _point(jwk)).private_key()
    )


def payload_of(token: str, key: Key) -> bytes | None:
    """The payload of a token that this key has signed, or None."""
    signed, _, signature = token.rpartition(".")
    try:
        payload = decode(signed.partition(".")[2])
        is_valid = key.verify(signed.encode(), decode(signature))
    except ValueError:
        return None
    return payload if is_valid else None


def signed(claims: Mapping[str, object], key: PrivateKey, header: Mapping[str, str]) -> str:
    """A token with these claims, signed with ES256."""
    parts = ({"alg": "ES256", "typ": "JWT", **header}, claims)
    data = ".".join(encode(json.dumps(part, separators=(",", ":")).encode()) for part in parts)
    return f"{data}.{encode(key.sign(data.encode()))}"


def encode(data: bytes) -> str:
    """Base64url without padding (RFC 7515 §2)."""
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    """Data from base64url without padding.

    Raises:
        ValueError: it is not written as `encode` writes it, so that a token has only one form.
    """
    data = _bytes(text)
    if encode(data) != text:
        raise ValueError("not base64url")
    return data


def _accepts(verify: Callable[..., None], *arguments: object) -> bool:
    try:
        verify(*arguments)
    except InvalidSignature:
        return False
    return True


def _point(jwk: Mapping[str, Any]) -> ec.EllipticCurvePublicNumbers:
    return ec.EllipticCurvePublicNumbers(
        _coordinate(jwk["x"]), _coordinate(jwk["y"]), ec.SECP256R1()
    )


def _coordinate(text: str) -> int:
    data = _bytes(text)
    if len(data) != _P256:
        raise ValueError("not a coordinate of P-256")
    return int.from_bytes(data, "big")


def _number(text: str) -> int:
    return int.from_bytes(_bytes(text), "big")


def _bytes(text: str) -> bytes:
    # Of keys, any spelling is read.
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
