"""Verifies callers: users by their token and the gateway's assertion, functions by their keys."""

from shared.auth.callers import CallerVerifier, Minter
from shared.auth.claims import role_of, text_of
from shared.auth.identity import Principal, Verifier
from shared.auth.jwks import fetch_public_keys
from shared.auth.signatures import PrivateKey, signed
from shared.auth.tokens import (
    check_times,
    claims_of,
    header_of,
    inline_keys,
    path_of,
    private_key,
    secret_key,
    statement_keys,
)

__all__ = [
    "CallerVerifier",
    "Minter",
    "Principal",
    "PrivateKey",
    "Verifier",
    "check_times",
    "claims_of",
    "fetch_public_keys",
    "header_of",
    "inline_keys",
    "path_of",
    "private_key",
    "role_of",
    "secret_key",
    "signed",
    "statement_keys",
    "text_of",
]
