"""Verifies callers: users by their token and the gateway's assertion, functions by their keys."""

from shared.auth.callers import CallerVerifier, Minter
from shared.auth.claims import role_of, text_of
from shared.auth.identity import Principal, Verifier
from shared.auth.tokens import (
    Key,
    check_times,
    claims_of,
    header_of,
    load_verification,
    private_key,
    sign,
)

__all__ = [
    "CallerVerifier",
    "Key",
    "Minter",
    "Principal",
    "Verifier",
    "check_times",
    "claims_of",
    "header_of",
    "load_verification",
    "private_key",
    "role_of",
    "sign",
    "text_of",
]
