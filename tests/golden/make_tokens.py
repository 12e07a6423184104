"""Write tokens.json: tokens and assertions that both verifiers must accept, or refuse.

Keys already in the file are kept and signatures are deterministic, so a run without a change to the
tables below changes nothing. Run: python -m tests.golden.make_tokens
"""

import json
from pathlib import Path
from typing import Any

from tests.golden.assertion_attacks import assertions
from tests.golden.attacks import tokens
from tests.golden.signing import ISSUER, NOW, SECRET, Keyring, ath, mint

FILE = Path(__file__).with_name("tokens.json")


def main() -> None:
    """Write the file."""
    held = json.loads(FILE.read_text())["private_keys"] if FILE.exists() else {}
    keyring = Keyring(held)
    cases = [_with_assertion(keyring, case) for case in tokens(keyring)]
    content: dict[str, Any] = {
        "now": NOW,
        "issuer": ISSUER,
        "function": "assistant",
        "legacy_secret": SECRET,
        "jwks": keyring.user_jwks(),
        "gateway_jwks": {"keys": [keyring.public("gateway"), keyring.public("gateway-next")]},
        "gateway_signing_key": keyring.private("gateway"),
        "tokens": cases,
        "assertions": assertions(keyring),
        "private_keys": {kid: keyring.private(kid) for kid in keyring.kids},
    }
    FILE.write_text(json.dumps(content, indent=1) + "\n")


def _with_assertion(keyring: Keyring, case: dict[str, Any]) -> dict[str, Any]:
    """Add the assertion that matches, so that nothing but the token can be at fault."""
    header = case["authorization"][0] if case["authorization"] else ""
    claims = {
        "iss": "auth-gateway",
        "aud": "assistant",
        "sub": case.pop("sub"),
        "session_id": case.pop("session_id"),
        "ath": ath(header.replace("\t", " ").rpartition(" ")[2].partition(",")[0]),
        "htm": "POST",
        "htu": "/runs",
        "iat": NOW,
        "exp": NOW + 140,
        "jti": "0b7d0a4c-6f6e-4c39-9f39-5b6c7f4c1b0e",
    }
    return {**case, "assertion": mint(keyring, "gateway", claims, typ="gw+jwt")}


if __name__ == "__main__":
    main()
