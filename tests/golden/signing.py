"""Keys and signatures for the golden tokens, including the ones no library would make."""

import hashlib
import hmac
import json
from base64 import urlsafe_b64encode
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

NOW = 1_800_000_000
ISSUER = "https://project.example.com/auth/v1"
SECRET = "a-legacy-secret-that-is-only-for-tests"  # noqa: S105 - a test's own
SUB = "6f9619ff-8b86-4011-b42d-00c04fc964ff"
SESSION = "1c0b5c3e-6f0a-4d6a-9f58-1f5f7d4e0a11"
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551

Claims = dict[str, Any]


def b64(data: bytes) -> str:
    """Base64url without padding."""
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def ath(token: str) -> str:
    """The hash by which an assertion names a token."""
    return b64(hashlib.sha256(token.encode()).digest())


def compact(value: Any) -> bytes:
    """JSON as tokens carry it."""
    return json.dumps(value, separators=(",", ":")).encode()


class Keyring:
    """The fixed keys: `user*` are Supabase's, `gateway*` the gateway's, the rest an attacker's."""

    kids = (
        "user-ec",
        "user-ec-next",
        "user-rsa",
        "gateway",
        "gateway-next",
        "foreign",
        "leaked",
        "encryption",
    )

    def __init__(self, held: dict[str, dict[str, Any]]) -> None:
        self._private = {kid: held.get(kid) or _new(kid) for kid in self.kids}

    def private(self, kid: str) -> dict[str, Any]:
        """The private JWK."""
        return self._private[kid]

    def public(self, kid: str) -> dict[str, Any]:
        """The public JWK."""
        names = ("kty", "crv", "x", "y", "n", "e", "kid", "alg", "use")
        jwk = self._private[kid]
        return {name: jwk[name] for name in names if name in jwk}

    def user_jwks(self) -> dict[str, Any]:
        """Supabase's JWKS, with keys in it that must never be used."""
        polluted = [
            {"kty": "oct", "kid": "shared", "alg": "HS256", "k": b64(SECRET.encode())},
            self.private("leaked"),
            {**self.public("encryption"), "use": "enc"},
            {"kty": "EC", "crv": "P-256", "kid": "broken", "x": "AA", "y": "AA"},
        ]
        real = [self.public(kid) for kid in ("user-ec", "user-ec-next", "user-rsa")]
        return {"keys": polluted + real}

    def ec(self, kid: str) -> ec.EllipticCurvePrivateKey:
        """The EC key that signs."""
        key = ECAlgorithm.from_jwk(self._private[kid])
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return key

    def rsa(self) -> rsa.RSAPrivateKey:
        """The RSA key that signs."""
        key = RSAAlgorithm.from_jwk(self._private["user-rsa"])
        assert isinstance(key, rsa.RSAPrivateKey)
        return key

    def sign(self, kid: str, data: bytes) -> bytes:
        """The JWS signature of data by one of the keys."""
        if kid == "user-rsa":
            return self.rsa().sign(data, padding.PKCS1v15(), hashes.SHA256())
        return raw(*utils.decode_dss_signature(self.der(kid, data)))

    def der(self, kid: str, data: bytes) -> bytes:
        """The same signature of an EC key in the form JWS does not use."""
        return self.ec(kid).sign(data, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))


def raw(r: int, s: int) -> bytes:
    """An ECDSA signature as JWS writes it."""
    return r.to_bytes(32) + s.to_bytes(32)


def _new(kid: str) -> dict[str, Any]:
    if kid == "user-rsa":
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        jwk, alg = RSAAlgorithm.to_jwk(key, as_dict=True), "RS256"
    else:
        jwk, alg = (
            ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()), as_dict=True),
            "ES256",
        )
    jwk.pop("key_ops", None)
    return {**jwk, "kid": kid, "alg": alg}


def join(header: bytes, payload: bytes, signature: bytes) -> str:
    """A compact JWS of any three parts."""
    return ".".join(b64(part) for part in (header, payload, signature))


def mint(keyring: Keyring, key: str, claims: Claims | bytes, **header: Any) -> str:
    """A token signed by one of the keys; header fields set to None are left out."""
    alg = "RS256" if key == "user-rsa" else "ES256"
    fields = {"alg": alg, "kid": key, "typ": "JWT"} | header
    head = compact({name: value for name, value in fields.items() if value is not None})
    body = claims if isinstance(claims, bytes) else compact(claims)
    return join(head, body, keyring.sign(key, f"{b64(head)}.{b64(body)}".encode()))


def mint_hmac(secret: bytes, claims: Claims, **header: Any) -> str:
    """A token signed by a shared secret."""
    fields = {"alg": "HS256", "typ": "JWT"} | header
    head, body = compact(fields), compact(claims)
    signed = hmac.digest(secret, f"{b64(head)}.{b64(body)}".encode(), "sha256")
    return join(head, body, signed)
