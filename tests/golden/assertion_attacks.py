"""The table of gateway assertions: valid ones, and all known forgeries."""

from collections.abc import Iterator
from typing import Any

from tests.golden.attacks import GONE, user
from tests.golden.signing import (
    NOW,
    SECRET,
    SESSION,
    SUB,
    Claims,
    Keyring,
    ath,
    b64,
    compact,
    join,
    mint,
    mint_hmac,
)

Case = dict[str, Any]
OTHER = "00000000-0000-4000-8000-000000000001"
ENCODED = "/runs/a%20b%3Ac/events"


def assertions(keyring: Keyring) -> list[Case]:
    """Every case of an assertion beside a good token, but for the last few."""
    token = mint(keyring, "user-ec", user())
    cases = [
        *_accepted(keyring, token),
        *_bad_claims(keyring, token),
        *_bad_forms(keyring, token),
        *_bad_pairs(keyring, token),
    ]
    return [
        {"authorization": [f"Bearer {token}"], "method": "POST", "path": "/runs"} | c for c in cases
    ]


def statement(token: str, **changes: Any) -> Claims:
    """The claims of a good assertion, but for the changes."""
    claims = {
        "iss": "auth-gateway",
        "aud": "assistant",
        "sub": SUB,
        "session_id": SESSION,
        "ath": ath(token),
        "htm": "POST",
        "htu": "/runs",
        "iat": NOW,
        "exp": NOW + 140,
        "jti": "0b7d0a4c-6f6e-4c39-9f39-5b6c7f4c1b0e",
    } | changes
    return {name: value for name, value in claims.items() if value is not GONE}


def _case(name: str, *assertion: str, accepted: bool = False, **request: Any) -> Case:
    return {"name": name, "assertion": list(assertion), "accepted": accepted, **request}


def _signed(keyring: Keyring, claims: Claims, key: str = "gateway", **header: Any) -> str:
    return mint(keyring, key, claims, **({"typ": "gw+jwt"} | header))


def _accepted(keyring: Keyring, token: str) -> Iterator[Case]:
    def good(name: str, key: str = "gateway", **changes: Any) -> Case:
        return _case(name, _signed(keyring, statement(token, **changes), key), accepted=True)

    yield good("an assertion")
    yield good("an assertion of the next key", "gateway-next")
    yield good("the longest life", exp=NOW + 150)
    yield good("a last second", iat=NOW - 139, exp=NOW + 1)
    yield good("iat within the tolerance", iat=NOW + 60, exp=NOW + 200)
    yield good("a path with an encoded id", htm="GET", htu=ENCODED) | {
        "method": "GET",
        "path": ENCODED,
    }


def _bad_claims(keyring: Keyring, token: str) -> Iterator[Case]:
    changes: dict[str, Claims] = {
        "iss missing": {"iss": GONE},
        "another iss": {"iss": "auth-gateway.attacker"},
        "aud of another function": {"aud": "threads"},
        "aud in a list": {"aud": ["assistant"]},
        "aud missing": {"aud": GONE},
        "exp missing": {"exp": GONE},
        "exp in the past": {"iat": NOW - 140, "exp": NOW},
        "exp as a string": {"exp": str(NOW + 140)},
        "a life that is too long": {"exp": NOW + 151},
        "iat missing": {"iat": GONE},
        "iat in the future": {"iat": NOW + 61},
        "nbf in the future": {"nbf": NOW + 61},
        "sub of another user": {"sub": OTHER},
        "sub missing": {"sub": GONE},
        "session_id of another session": {"session_id": OTHER},
        "session_id missing": {"session_id": GONE},
        "ath of another token": {"ath": ath("another")},
        "ath with padding": {"ath": ath(token) + "="},
        "ath missing": {"ath": GONE},
        "another method": {"htm": "GET"},
        "the method in lower case": {"htm": "post"},
        "the method missing": {"htm": GONE},
        "another path": {"htu": "/connect"},
        "a longer path": {"htu": "/runs/"},
        "a path with a query": {"htu": "/runs?x=1"},
        "a path with its host": {"htu": "https://assistant.example.com/runs"},
        "the path missing": {"htu": GONE},
        "jti missing": {"jti": GONE},
        "jti a number": {"jti": 1},
    }
    for name, change in changes.items():
        yield _case(name, _signed(keyring, statement(token, **change)))
    decoded = _signed(keyring, statement(token, htu="/runs/a b:c/events"))
    yield _case("a path that was decoded", decoded, path=ENCODED)


def _bad_forms(keyring: Keyring, token: str) -> Iterator[Case]:
    good = _signed(keyring, statement(token))
    head, body, signature = good.split(".")

    def changed(name: str, key: str = "gateway", **header: Any) -> Case:
        return _case(name, _signed(keyring, statement(token), key, **header))

    yield _case("no assertion")
    yield _case("an empty assertion", "")
    yield _case("the assertion twice", good, good)
    yield _case("two assertions with a comma", f"{good},{good}")
    yield _case("a scheme", f"Bearer {good}")
    yield _case("padding", f"{good}==")
    yield _case("a truncated signature", good[:-4])
    yield _case("another payload", f"{head}.{b64(compact(statement(token, aud='x')))}.{signature}")
    yield _case("no signature", f"{head}.{body}.")
    none = compact({"alg": "none", "kid": "gateway", "typ": "gw+jwt"})
    yield _case("alg none", join(none, compact(statement(token)), b"x"))
    yield changed("typ missing", typ=None)
    yield changed("typ JWT", typ="JWT")
    yield changed("typ in upper case", typ="GW+JWT")
    yield changed("an unknown kid", "foreign")
    yield changed("a foreign key under the gateway's kid", "foreign", kid="gateway")
    yield changed("a user's key", "user-ec")
    yield changed("no kid", kid=None)
    yield changed("an embedded jwk", "foreign", kid=None, jwk=keyring.public("foreign"))
    yield changed("crit", crit=["exp"])
    yield changed("an RS256 key", "user-rsa")
    secret = mint_hmac(SECRET.encode(), statement(token), typ="gw+jwt", kid="gateway")
    yield _case("the legacy secret", secret)


def _bad_pairs(keyring: Keyring, token: str) -> Iterator[Case]:
    good = _signed(keyring, statement(token))
    yield _case("the token as its own assertion", token)
    yield _case("the assertion as its own token", good, authorization=[f"Bearer {good}"])
    twin = _signed(keyring, user() | statement(token))
    yield _case("an assertion with every claim of a token", twin, authorization=[f"Bearer {twin}"])
    expired = mint(keyring, "user-ec", user(exp=NOW - 1))
    yield _case(
        "an expired token",
        _signed(keyring, statement(expired)),
        authorization=[f"Bearer {expired}"],
    )
    yield _case("no token", good, authorization=[])
    yield _case("another method than the request's", good, method="DELETE")
    yield _case("another path than the request's", good, path="/runs/1/cancel")
