"""Our signatures beside PyJWT's: both accept the same tokens, and each reads what the other signs."""

import json
from base64 import urlsafe_b64decode
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given, settings
from hypothesis import strategies as st
from jwt.algorithms import RSAAlgorithm

from local.keys import SigningKey
from shared.auth.claims import time_of
from shared.auth.signatures import (
    PrivateKey,
    Secret,
    decode,
    encode,
    payload_of,
    read_private_key,
    read_public_key,
    signed,
)
from shared.auth.tokens import claims_of, parse_keys
from shared.core.errors import Unauthorized

CLAIMS = {"sub": "a user", "exp": 1_800_000_000}
EC = SigningKey.generate("ours")
RSA = rsa.generate_private_key(65537, 2048)
SECRET = b"0123456789abcdef0123456789abcdef"
RSA_JWK: dict[str, Any] = json.loads(RSAAlgorithm.to_jwk(RSA.public_key()))
PUBLIC = {name: text for name, text in EC.jwk.items() if name != "d"}
KEYS = {
    "ES256": (read_public_key(PUBLIC), jwt.PyJWK(PUBLIC, "ES256")),
    "RS256": (read_public_key(RSA_JWK), jwt.PyJWK(RSA_JWK, "RS256")),
    "HS256": (Secret(SECRET), jwt.PyJWK({"kty": "oct", "k": encode(SECRET)}, "HS256")),
}
TOKENS = {
    "ES256": jwt.encode(CLAIMS, jwt.PyJWK(EC.jwk, "ES256").key, "ES256"),
    "RS256": jwt.encode(CLAIMS, RSA, "RS256"),
    "HS256": jwt.encode(CLAIMS, SECRET, "HS256"),
}
algorithms = st.sampled_from(sorted(KEYS))
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=.+/ é"


def is_accepted_by_pyjwt(token: str, alg: str) -> bool:
    try:
        payload = jwt.PyJWS().decode(token, KEYS[alg][1], algorithms=[alg])
        return isinstance(json.loads(payload), dict)
    except (jwt.PyJWTError, ValueError):
        return False


def is_accepted(token: str, alg: str) -> bool:
    try:
        claims_of(token, KEYS[alg][0])
    except Unauthorized:
        return False
    return True


@pytest.mark.parametrize("alg", KEYS)
def test_a_token_of_pyjwt_is_accepted(alg: str) -> None:
    assert claims_of(TOKENS[alg], KEYS[alg][0]) == CLAIMS


def test_pyjwt_accepts_our_token() -> None:
    token = signed(CLAIMS, read_private_key(EC.jwk), {"kid": "ours", "typ": "fn+jwt"})

    read = jwt.decode_complete(
        token, KEYS["ES256"][1], algorithms=["ES256"], options={"verify_exp": False}
    )
    assert read["payload"] == CLAIMS
    assert read["header"] == {"alg": "ES256", "typ": "fn+jwt", "kid": "ours"}


@settings(max_examples=300)
@given(algorithms, algorithms, st.data())
def test_an_altered_token_is_accepted_where_pyjwt_accepts_it(
    signs: str, verifies: str, data: st.DataObject
) -> None:
    token = TOKENS[signs]
    start = data.draw(st.integers(0, len(token)))
    end = data.draw(st.integers(start, min(start + 4, len(token))))
    altered = token[:start] + data.draw(st.text(LETTERS, max_size=4)) + token[end:]

    assert is_accepted(altered, verifies) == is_accepted_by_pyjwt(altered, verifies)


@pytest.mark.parametrize("alg", KEYS)
def test_every_last_letter_but_one_is_refused(alg: str) -> None:
    """The unused bits of the last letter are zero, so that a token has one form."""
    token = TOKENS[alg]
    accepted = [last for last in LETTERS if is_accepted(token[:-1] + last, alg)]

    assert accepted == [token[-1]]


def test_a_short_rsa_key_verifies_nothing() -> None:
    weak = rsa.generate_private_key(65537, 1024)  # noqa: S505  # what is refused
    jwk = json.loads(RSAAlgorithm.to_jwk(weak.public_key()))

    with pytest.raises(ValueError, match="too short"):
        read_public_key(jwk)


@pytest.mark.parametrize(
    "change",
    [
        {"x": "AA"},
        {"x": None},
        {"y": PUBLIC["x"]},
        {"x": 7},
        {"y": "!"},
        {"kty": "RSA", "n": "AQ", "e": "AQAB"},
        {"kty": "RSA"},
    ],
)
def test_a_key_that_is_none_disables_no_other(change: dict[str, Any]) -> None:
    broken = {**PUBLIC, **change, "kid": "broken"}
    keys = parse_keys(json.dumps({"keys": [broken, {**PUBLIC, "kid": "whole"}]}))

    assert list(keys) == [("ES256", "whole")]


def test_a_signature_has_both_halves_at_full_length() -> None:
    key: PrivateKey = read_private_key(EC.jwk)

    assert {len(key.sign(b"%d" % n)) for n in range(600)} == {64}


@given(st.binary(max_size=40))
def test_base64url_is_read_as_it_is_written(data: bytes) -> None:
    text = encode(data)

    assert decode(text) == data == urlsafe_b64decode(text + "=" * (-len(text) % 4))
    assert payload_of(f"{text}.{text}.{text}", KEYS["HS256"][0]) is None


@pytest.mark.parametrize(
    "value",
    [10**400, -(10**400), float("inf"), float("nan"), True, "1", None],
    ids=lambda v: str(v)[:5],
)
def test_a_time_that_is_no_number_of_seconds_is_refused(value: object) -> None:
    with pytest.raises(Unauthorized):
        time_of(value, "exp")
