"""The cases of tokens.json: valid tokens, and all known forgeries."""

from collections.abc import Iterator
from typing import Any

from cryptography.hazmat.primitives.asymmetric import utils
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.golden.signing import (
    ISSUER,
    NOW,
    ORDER,
    SECRET,
    SESSION,
    SUB,
    Claims,
    Keyring,
    b64,
    compact,
    join,
    mint,
    mint_hmac,
    raw,
)

Case = dict[str, Any]
GONE = object()


def user(**changes: Any) -> Claims:
    """The claims of a good user token, but for the changes."""
    claims = {
        "iss": ISSUER,
        "aud": "authenticated",
        "sub": SUB,
        "role": "authenticated",
        "aal": "aal1",
        "session_id": SESSION,
        "email": "ada@example.com",
        "is_anonymous": False,
        "app_metadata": {"provider": "email"},
        "user_metadata": {"role": "admin"},
        "iat": NOW - 60,
        "exp": NOW + 3540,
    } | changes
    return {name: value for name, value in claims.items() if value is not GONE}


def _case(name: str, *authorization: str, legacy: bool = False, **principal: Any) -> Case:
    accepted = principal.pop("accepted", False)
    expected = {"is_anonymous": False, "app_role": None} | principal
    return {
        "name": name,
        "authorization": list(authorization),
        "legacy": legacy,
        "accepted": accepted,
        "sub": SUB,
        "session_id": SESSION,
        **({"principal": {"sub": SUB, "session_id": SESSION, **expected}} if accepted else {}),
    }


def tokens(keyring: Keyring) -> list[Case]:
    """Every case of an Authorization header."""
    return [
        *_accepted(keyring),
        *_bad_claims(keyring),
        *_bad_keys(keyring),
        *_confused_algorithms(keyring),
        *_bad_signatures(keyring),
        *_bad_forms(keyring),
    ]


def _accepted(keyring: Keyring) -> Iterator[Case]:
    def good(name: str, token: str, scheme: str = "Bearer", **extra: Any) -> Case:
        return _case(name, f"{scheme} {token}", accepted=True, **extra)

    def es(**changes: Any) -> str:
        return mint(keyring, "user-ec", user(**changes))

    yield good("an ES256 token", es())
    yield good("an RS256 token", mint(keyring, "user-rsa", user()))
    yield good("a token of the next key", mint(keyring, "user-ec-next", user()))
    yield good("a token without typ", mint(keyring, "user-ec", user(), typ=None))
    yield good("a token with typ in lower case", mint(keyring, "user-ec", user(), typ="jwt"))
    yield good("the scheme in lower case", es(), "bearer")
    yield good("the scheme in upper case", es(), "BEARER")
    yield good("an anonymous user", es(is_anonymous=True), is_anonymous=True)
    yield good("a user without is_anonymous", es(is_anonymous=GONE))
    yield good("a user with an app role", es(app_metadata={"role": "admin"}), app_role="admin")
    yield good("an app role that is a list", es(app_metadata={"role": ["admin"]}))
    yield good("a user whose app_metadata is null", es(app_metadata=None))
    yield good("a user without app_metadata", es(app_metadata=GONE))
    yield good("an audience in a list of one", es(aud=["authenticated"]))
    yield good("a token in its last second", es(exp=NOW + 1))
    yield good("an expiry with a fraction", es(exp=NOW + 0.5))
    yield good("iat within the tolerance", es(iat=NOW + 60))
    yield good("nbf within the tolerance", es(nbf=NOW + 60))
    yield good("a UUID in upper case", es(sub=SUB.upper()))
    yield good("a high s", _high_s(keyring))
    secret = SECRET.encode()
    yield good("a legacy token", mint_hmac(secret, user()), legacy=True)
    yield good("a legacy token with a kid", mint_hmac(secret, user(), kid="old"), legacy=True)
    yield good("an ES256 token beside a legacy secret", es(), legacy=True)


def _bad_claims(keyring: Keyring) -> Iterator[Case]:
    changes: dict[str, Claims] = {
        "exp missing": {"exp": GONE},
        "exp in the past": {"exp": NOW - 1},
        "exp at this moment": {"exp": NOW},
        "exp as a string": {"exp": str(NOW + 60)},
        "exp as a boolean": {"exp": True},
        "exp NaN": {"exp": float("nan")},
        "exp without end": {"exp": float("inf")},
        "exp null": {"exp": None},
        "nbf in the future": {"nbf": NOW + 61},
        "nbf as a string": {"nbf": "0"},
        "iat in the future": {"iat": NOW + 61},
        "iat as a list": {"iat": [NOW]},
        "iss missing": {"iss": GONE},
        "iss of another project": {"iss": "https://other.example.com/auth/v1"},
        "iss with a suffix": {"iss": f"{ISSUER}.attacker.example.com"},
        "iss with a slash": {"iss": f"{ISSUER}/"},
        "iss in a list": {"iss": [ISSUER]},
        "aud missing": {"aud": GONE},
        "another aud": {"aud": "anon"},
        "aud with others": {"aud": ["authenticated", "admin"]},
        "aud empty": {"aud": []},
        "role missing": {"role": GONE},
        "role service_role": {"role": "service_role"},
        "role anon": {"role": "anon"},
        "role postgres": {"role": "postgres"},
        "role in a list": {"role": ["authenticated"]},
        "role with a capital": {"role": "Authenticated"},
        "role with a space": {"role": "authenticated "},
        "sub missing": {"sub": GONE},
        "sub not a UUID": {"sub": "ada"},
        "sub in braces": {"sub": f"{{{SUB}}}"},
        "sub as a URN": {"sub": f"urn:uuid:{SUB}"},
        "sub without dashes": {"sub": SUB.replace("-", "")},
        "sub with a line end": {"sub": f"{SUB}\n"},
        "sub with SQL": {"sub": f"{SUB}' or '1'='1"},
        "sub a number": {"sub": 1},
        "session_id missing": {"session_id": GONE},
        "session_id not a UUID": {"session_id": "session"},
        "session_id null": {"session_id": None},
        "NaN anywhere": {"user_metadata": {"x": float("nan")}},
        "is_anonymous a string": {"is_anonymous": "false"},
        "is_anonymous zero": {"is_anonymous": 0},
        "app_metadata a list": {"app_metadata": []},
        "app_metadata a string": {"app_metadata": ""},
    }
    for name, change in changes.items():
        yield _case(name, f"Bearer {mint(keyring, 'user-ec', user(**change))}")
    for name, payload in {
        "a payload that is a list": compact([user()]),
        "a payload that is null": b"null",
        "a payload that is not JSON": b"{'sub':1}",
        "a payload that is not UTF-8": compact(user()) + b"\xff",
        "a payload after a byte order mark": b"\xef\xbb\xbf" + compact(user()),
        "an empty payload": b"",
        "a payload nested without end": b"[" * 4000,
    }.items():
        yield _case(name, f"Bearer {mint(keyring, 'user-ec', payload)}")


def _bad_keys(keyring: Keyring) -> Iterator[Case]:
    def signed(name: str, key: str, **header: Any) -> Case:
        return _case(name, f"Bearer {mint(keyring, key, user(), **header)}")

    own = keyring.public("foreign")
    yield signed("an unknown kid", "foreign")
    yield signed("a foreign key under a known kid", "foreign", kid="user-ec")
    yield signed("a kid that is a path", "foreign", kid="../../../../dev/null")
    yield signed("a kid that is SQL", "foreign", kid="x' union select 'secret")
    yield signed("a kid that is a number", "user-ec", kid=1)
    yield signed("a kid in a list", "user-ec", kid=["user-ec"])
    yield signed("no kid", "user-ec", kid=None)
    yield signed("a kid of another key type", "user-ec", kid="user-rsa")
    yield signed("a kid of another key", "user-ec", kid="user-ec-next")
    yield signed("an embedded jwk", "foreign", kid=None, jwk=own)
    yield signed("an embedded jwk under a known kid", "foreign", kid="user-ec", jwk=own)
    yield signed("a jku", "foreign", kid="user-ec", jku="https://attacker.example.com/jwks.json")
    yield signed("an x5u", "foreign", kid="user-ec", x5u="https://attacker.example.com/x.pem")
    yield signed("a key whose private half is published", "leaked")
    yield signed("a key for encryption", "encryption")
    yield signed("the gateway's key", "gateway")
    yield signed("a gateway assertion's typ", "user-ec", typ="gw+jwt")
    yield signed("another typ", "user-ec", typ="at+jwt")
    yield signed("a typ in a list", "user-ec", typ=["JWT"])
    yield signed("crit of a known field", "user-ec", crit=["exp"], exp=NOW + 60)
    yield signed("crit empty", "user-ec", crit=[])
    yield signed("crit b64", "user-ec", crit=["b64"], b64=True)
    yield signed("b64 off", "user-ec", b64=False)


def _confused_algorithms(keyring: Keyring) -> Iterator[Case]:
    rsa_public = keyring.rsa().public_key()
    ec_public = keyring.ec("user-ec").public_key()
    spki = PublicFormat.SubjectPublicKeyInfo
    secrets = {
        "an RSA PEM": (rsa_public.public_bytes(Encoding.PEM, spki), "user-rsa"),
        "an RSA DER": (rsa_public.public_bytes(Encoding.DER, spki), "user-rsa"),
        "an EC PEM": (ec_public.public_bytes(Encoding.PEM, spki), "user-ec"),
        "an EC point": (
            ec_public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint),
            "user-ec",
        ),
        "an empty key": (b"", "user-ec"),
        "another secret": (b"another-secret-of-sufficient-length", "old"),
    }
    for name, (secret, kid) in secrets.items():
        token = f"Bearer {mint_hmac(secret, user(), kid=kid)}"
        yield _case(f"HS256 with {name}", token)
        yield _case(f"HS256 with {name} beside a legacy secret", token, legacy=True)
    legacy = SECRET.encode()
    yield _case("a legacy token without a legacy secret", f"Bearer {mint_hmac(legacy, user())}")
    shared = mint_hmac(legacy, user(), kid="shared")
    yield _case("a shared key out of the JWKS", f"Bearer {shared}")
    odd = mint_hmac(legacy, user(), kid=7)
    yield _case("a legacy token whose kid is a number", f"Bearer {odd}", legacy=True)
    anon = mint_hmac(legacy, user(role="anon", sub=GONE, session_id=GONE, iss="supabase"))
    yield _case("a legacy anon key", f"Bearer {anon}", legacy=True)
    for alg in ("HS384", "HS512"):
        yield _case(f"alg {alg}", f"Bearer {mint_hmac(legacy, user(), alg=alg)}", legacy=True)
    odd_names: list[Any] = ["none", "None", "NONE", "", "ES384", "PS256", "EdDSA", ["ES256"], 5]
    for odd_name in odd_names:
        token = mint(keyring, "user-ec", user(), alg=odd_name)
        yield _case(f"alg {odd_name!r} over a signature", f"Bearer {token}")
    for alg in ("none", "ES256"):
        head = compact({"alg": alg, "kid": "user-ec"})
        yield _case(f"alg {alg} without one", f"Bearer {join(head, compact(user()), b'')}")
        yield _case(f"alg {alg} with dots", f"Bearer {join(head, compact(user()), b'')}..")
    swapped = mint(keyring, "user-ec", user(), alg="RS256", kid="user-rsa")
    yield _case("an ES256 signature that says RS256", f"Bearer {swapped}")
    swapped = mint(keyring, "user-rsa", user(), alg="ES256", kid="user-ec")
    yield _case("an RS256 signature that says ES256", f"Bearer {swapped}")
    yield _case(
        "alg RS256 over an EC key", f"Bearer {mint(keyring, 'user-ec', user(), alg='RS256')}"
    )


def _bad_signatures(keyring: Keyring) -> Iterator[Case]:
    token = mint(keyring, "user-ec", user())
    head, body, signature = token.split(".")
    other = b64(compact(user(sub="00000000-0000-4000-8000-000000000001")))
    signatures = {
        "r and s zero": b64(raw(0, 0)),
        "r and s the order": b64(raw(ORDER, ORDER)),
        "r and s one": b64(raw(1, 1)),
        "in DER": b64(keyring.der("user-ec", f"{head}.{body}".encode())),
        "truncated": signature[:-4],
        "extended": signature + "AAAA",
        "with padding": signature + "==",
        "in plain base64": f"+/{signature[2:]}",
    }
    for name, changed in signatures.items():
        yield _case(f"a signature {name}", f"Bearer {head}.{body}.{changed}")
    yield _case("another payload", f"Bearer {head}.{other}.{signature}")
    padded = head + "=" * (-len(head) % 4 or 4)
    yield _case("a header with padding", f"Bearer {padded}.{body}.{signature}")
    yield _case("four parts", f"Bearer {token}.{signature}")
    yield _case("a JWE", f"Bearer {head}.{body}.{signature}.{body}.{signature}")
    nested = b64(b"[" * 4000)
    yield _case("a header nested without end", f"Bearer {nested}.{body}.{signature}")
    yield _case("a header that is a list", f"Bearer {b64(b'[]')}.{body}.{signature}")


def _bad_forms(keyring: Keyring) -> Iterator[Case]:
    token = mint(keyring, "user-ec", user())
    large = mint(keyring, "user-ec", user(user_metadata={"x": "x" * 6200}))
    yield _case("no header")
    yield _case("an empty header", "")
    yield _case("a token without a scheme", token)
    yield _case("another scheme", f"Basic {token}")
    yield _case("two schemes", f"Bearer Bearer {token}")
    yield _case("a tab", f"Bearer\t{token}")
    yield _case("two spaces", f"Bearer  {token}")
    yield _case("the header twice", f"Bearer {token}", f"Bearer {token}")
    yield _case("the header twice, once empty", f"Bearer {token}", "")
    yield _case("two tokens with a comma", f"Bearer {token},Bearer {token}")
    yield _case("a parameter", f"Bearer {token}, realm=x")
    yield _case("a publishable key", "Bearer sb_publishable_1234567890abcdef_12345678")
    yield _case("a secret key", "Bearer sb_secret_1234567890abcdef_12345678")
    yield _case("a token over 8 KiB", f"Bearer {large}")


def _high_s(keyring: Keyring) -> str:
    head, body, _ = mint(keyring, "user-ec", user()).split(".")
    r, s = utils.decode_dss_signature(keyring.der("user-ec", f"{head}.{body}".encode()))
    return f"{head}.{body}.{b64(raw(r, max(s, ORDER - s)))}"
