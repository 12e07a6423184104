"""Verifies users by two proofs on each request, which must name the same caller.

A Supabase access token names the user; the gateway's assertion proves that the request came through the gateway, for
this function, method and path. The rules for tokens are those of `supabase/functions/auth-gateway/tokens.ts`; both are
tested with `tests/golden/tokens.json`.
"""

import hashlib
import math
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from shared.auth.claims import default_of, text_of, uuid_of
from shared.auth.jwks import RemoteKeys
from shared.auth.signatures import Key, encode
from shared.auth.tokens import (
    check_times,
    claims_of,
    header_of,
    inline_keys,
    naming,
    only,
    parse_keys,
    secret_key,
    statement_keys,
    statement_of,
)
from shared.core import Unauthorized

BEARER = re.compile(r"Bearer ([\w-]+\.[\w-]+\.[\w-]+)", re.ASCII | re.IGNORECASE)
_COMPACT = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+", re.ASCII)
_SCHEDULE = "sweep"
_REMEMBER_SECONDS = 60
_REMEMBER_TOKENS = 2000


@dataclass(frozen=True, slots=True)
class Principal:
    """A verified user: on whose behalf a request or a run acts."""

    sub: UUID
    session_id: UUID
    role: str
    is_anonymous: bool
    app_role: str | None

    @property
    def claims(self) -> dict[str, object]:
        """The claims to store with a run, so that the process that executes it acts as this user and no more."""
        claims: dict[str, object] = {
            "sub": str(self.sub),
            "role": self.role,
            "session_id": str(self.session_id),
            "is_anonymous": self.is_anonymous,
        }
        if self.app_role is not None:
            claims["app_metadata"] = {"role": self.app_role}
        return claims


class Verifier:
    """Verifies both proofs of a request to one function.

    Raises:
        ValueError: the keys or the secret cannot be used.
    """

    def __init__(
        self,
        *,
        function: str,
        issuer: str,
        gateway_keys: str,
        jwks: str | None,
        jwks_url: str,
        legacy_secret: str | None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._function = function
        self._issuer = issuer
        self._clock = clock
        self._gateway_keys = statement_keys("GATEWAY_PUBLIC_KEYS", gateway_keys)
        self._keys = None if jwks is None else inline_keys("SUPABASE_JWKS", jwks)
        self._remote_keys = RemoteKeys(jwks_url, parse_keys, clock=clock)
        self._secret = None if legacy_secret is None else secret_key(legacy_secret)
        self._verified_tokens: OrderedDict[str, tuple[Principal, float]] = OrderedDict()

    async def verify(
        self, *, authorization: Sequence[str], assertion: Sequence[str], method: str, path: str
    ) -> Principal:
        """The principal that both proofs name. `path` is percent-encoded, as received.

        Raises:
            Unauthorized: a proof is missing, repeated or not valid, or the two do not match.
            TokenTooLarge: the token is over the limit.
        """
        with naming("token"):
            token = only(BEARER, authorization, group=1)
        token_hash = encode(hashlib.sha256(token.encode()).digest())
        with naming("assertion"):
            statement = self._statement(only(_COMPACT, assertion, group=0))
            if statement["ath"] != token_hash:
                raise Unauthorized("of_another_token")
            _check_request(statement, method, path)
        with naming("token"):
            principal = self._recall(token_hash) or await self._principal(token, token_hash)
        same = (statement["sub"].lower(), statement["session_id"].lower())
        if same != (str(principal.sub), str(principal.session_id)):
            raise Unauthorized("assertion.of_another_user")
        return principal

    def verify_schedule(self, *, assertion: Sequence[str], method: str, path: str) -> None:
        """Check that the gateway asserts its schedule as the caller, which is no user and has no rights.

        Raises:
            Unauthorized: it does not assert that.
        """
        with naming("assertion"):
            statement = self._statement(only(_COMPACT, assertion, group=0))
            _check_request(statement, method, path)
            if statement["sub"] != _SCHEDULE:
                raise Unauthorized("not_of_the_schedule")

    def _statement(self, assertion: str) -> dict[str, str]:
        claims = statement_of(assertion, "gw+jwt", self._gateway_keys, self._clock())
        if claims.get("iss") != "auth-gateway":
            raise Unauthorized("invalid_iss")
        if claims.get("aud") != self._function:
            raise Unauthorized("for_another_function")
        names = ("sub", "session_id", "ath", "htm", "htu", "jti")
        return {name: text_of(claims.get(name), name) for name in names}

    async def _principal(self, token: str, token_hash: str) -> Principal:
        claims = claims_of(token, await self._user_key(header_of(token)))
        if claims.get("iss") != self._issuer:
            raise Unauthorized("invalid_iss")
        if claims.get("role") != "authenticated":
            raise Unauthorized("invalid_role")
        # Supabase issues a string; the standard also allows a list, which is accepted if it has no other member.
        if claims.get("aud") not in ("authenticated", ["authenticated"]):
            raise Unauthorized("invalid_aud")
        check_times(claims, self._clock())
        principal = principal_of(claims)
        self._remember(token_hash, principal, claims["exp"])
        return principal

    async def _user_key(self, header: Mapping[str, Any]) -> Key | None:
        # A gateway assertion has the type gw+jwt, and must never pass for a user's token.
        if "typ" in header and text_of(header["typ"], "typ").upper() != "JWT":
            raise Unauthorized("invalid_typ")
        alg = header.get("alg")
        if alg == "HS256":
            return self._secret
        if alg not in ("ES256", "RS256"):
            raise Unauthorized("invalid_alg")
        name = (alg, text_of(header.get("kid"), "kid"))
        return await self._remote_keys.find(name) if self._keys is None else self._keys.get(name)

    def _recall(self, token_hash: str) -> Principal | None:
        principal, until = self._verified_tokens.get(token_hash, (None, -math.inf))
        if self._clock() < until:
            return principal
        self._verified_tokens.pop(token_hash, None)
        return None

    def _remember(self, token_hash: str, principal: Principal, expires_at: float) -> None:
        until = min(self._clock() + _REMEMBER_SECONDS, expires_at)
        self._verified_tokens[token_hash] = (principal, until)
        if len(self._verified_tokens) > _REMEMBER_TOKENS:
            self._verified_tokens.popitem(last=False)


def _check_request(statement: Mapping[str, str], method: str, path: str) -> None:
    if (statement["htm"], statement["htu"]) != (method, path):
        raise Unauthorized("of_another_request")


def principal_of(claims: Mapping[str, Any]) -> Principal:
    """The user these claims name."""
    metadata = default_of(claims.get("app_metadata"), {})
    is_anonymous = default_of(claims.get("is_anonymous"), False)
    if not isinstance(metadata, dict):
        raise Unauthorized("invalid_app_metadata")
    if not isinstance(is_anonymous, bool):
        raise Unauthorized("invalid_is_anonymous")
    role = metadata.get("role")
    return Principal(
        sub=uuid_of(claims.get("sub"), "sub"),
        session_id=uuid_of(claims.get("session_id"), "session_id"),
        role="authenticated",
        is_anonymous=is_anonymous,
        app_role=role if isinstance(role, str) and role.isprintable() else None,
    )
