"""The tokens with which functions call each other: for one function, signed by a known key, for a short time."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from local.keys import SigningKey
from shared.auth.callers import CallerVerifier, Minter
from shared.auth.signatures import read_private_key
from shared.auth.signatures import signed as sign
from shared.core.errors import Unauthorized

NOW = 1_800_000_000
KEY, OTHER = SigningKey.generate("assistant"), SigningKey.generate("assistant")
RUN = "6f9619ff-8b86-4011-b42d-00c04fc964f0"
CLAIMS = {
    "sub": "6f9619ff-8b86-4011-b42d-00c04fc964ff",
    "role": "authenticated",
    "session_id": "1c0b5c3e-6f0a-4d6a-9f58-1f5f7d4e0a11",
    "is_anonymous": False,
    "app_metadata": {"role": "admin"},
}
WHOLE: dict[str, Any] = {**CLAIMS, "iss": "assistant", "aud": "tools", "iat": NOW, "exp": NOW + 120}


def verifier(function: str = "tools", at: float = NOW) -> CallerVerifier:
    return CallerVerifier(function=function, keys=KEY.public_keys, clock=lambda: at)


def signed(key: SigningKey = KEY, typ: str = "fn+jwt", **claims: Any) -> str:
    header = {"typ": typ, "kid": KEY.jwk["kid"]}
    given = {name: value for name, value in {**WHOLE, **claims}.items() if value is not None}
    return sign(given, read_private_key(key.jwk), header)


def minted(run_id: str | None = RUN) -> str:
    return Minter("assistant", KEY.private_text, clock=lambda: NOW).mint("tools", CLAIMS, run_id)


def test_a_caller_has_the_function_that_signed_and_the_user_it_acts_for() -> None:
    caller = verifier().verify([f"Bearer {minted()}"])

    assert caller.function == "assistant"
    assert str(caller.run_id) == RUN
    assert str(caller.user.sub) == CLAIMS["sub"]
    assert caller.claims["app_metadata"] == {"role": "admin"}
    assert verifier().verify([f"bearer {minted(None)}"]).run_id is None


def test_a_token_with_valid_claims_is_accepted() -> None:
    assert verifier().verify([f"Bearer {signed()}"]).function == "assistant"


@pytest.mark.parametrize(
    "made",
    [
        lambda: signed(key=OTHER),
        lambda: signed(typ="JWT"),
        lambda: signed(typ="gw+jwt"),
        lambda: signed(typ="state+jwt"),
        lambda: signed(aud="runner"),
        lambda: signed(aud=["tools", "runner"]),
        lambda: signed(exp=NOW),
        lambda: signed(exp=NOW + 151),
        lambda: signed(iat=NOW + 61, exp=NOW + 120),
        lambda: signed(iat=None),
        lambda: signed(exp="soon"),
        lambda: signed(iss=None),
        lambda: signed(sub="me"),
        lambda: signed(session_id=None),
        lambda: signed(role="service_role"),
        lambda: signed(role=None),
        lambda: signed(run_id="r1"),
        lambda: signed(run_id=7),
        lambda: minted()[:-3] + "AAA",
        lambda: minted().rpartition(".")[0] + ".",
    ],
)
def test_a_token_with_any_invalid_part_is_refused(made: Callable[[], str]) -> None:
    with pytest.raises(Unauthorized):
        verifier().verify([f"Bearer {made()}"])


@pytest.mark.parametrize("headers", [[], [""], ["Bearer "], ["Basic x"], ["Bearer x"]])
def test_a_request_without_a_token_is_refused(headers: list[str]) -> None:
    with pytest.raises(Unauthorized):
        verifier().verify(headers)


def test_a_request_with_two_tokens_is_refused() -> None:
    with pytest.raises(Unauthorized):
        verifier().verify([f"Bearer {minted()}"] * 2)


def test_a_token_ends_after_two_minutes_and_is_for_one_function() -> None:
    token = f"Bearer {minted()}"

    assert verifier(at=NOW + 119).verify([token]).function == "assistant"
    with pytest.raises(Unauthorized):
        verifier(at=NOW + 120).verify([token])
    with pytest.raises(Unauthorized):
        verifier("runner").verify([token])


@pytest.mark.parametrize("key", ["", "{}", "[]", json.dumps({"kty": "EC"}), KEY.public_keys])
def test_a_key_that_cannot_sign_is_refused_at_once(key: str) -> None:
    with pytest.raises(ValueError, match="INTERNAL_SIGNING_KEY"):
        Minter("assistant", key)
    with pytest.raises(ValueError, match="INTERNAL_PUBLIC_KEYS"):
        CallerVerifier(function="tools", keys=json.dumps({"keys": []}))
