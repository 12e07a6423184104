"""Tokens between our functions: which function calls, and on behalf of which user.

The caller signs the token with its own key: `typ` fn+jwt, ES256, for one function, for a short time. Its claims are
those that were verified when the run was admitted, so the called function acts as that user and no more.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from shared.auth.claims import default_of, text_of, uuid_of
from shared.auth.identity import BEARER, Principal, principal_of
from shared.auth.signatures import signed
from shared.auth.tokens import naming, only, private_key, statement_keys, statement_of
from shared.core import Unauthorized

_TYPE = "fn+jwt"
_LIFETIME = 120


@dataclass(frozen=True, slots=True)
class Caller:
    """A verified function, and the user it acts for. `run_id`: the run that calls, if one does."""

    function: str
    user: Principal
    run_id: UUID | None

    @property
    def claims(self) -> dict[str, object]:
        return self.user.claims


class Minter:
    """Signs the requests of the function `name` to other functions.

    Raises:
        ValueError: the key is not a private ES256 key with a kid.
    """

    def __init__(self, name: str, key: str, clock: Callable[[], float] = time.time) -> None:
        self._name = name
        self._key, self._kid = private_key("INTERNAL_SIGNING_KEY", key)
        self._clock = clock

    def mint(self, function: str, claims: Mapping[str, object], run_id: str | None) -> str:
        """A token for one function with these claims, valid for two minutes."""
        now = int(self._clock())
        names = {"iss": self._name, "aud": function, "jti": str(uuid4())}
        times = {"iat": now, "exp": now + _LIFETIME}
        run = {"run_id": run_id} if run_id else {}
        header = {"typ": _TYPE, "kid": self._kid}
        return signed({**claims, **names, **times, **run}, self._key, header)


class CallerVerifier:
    """Verifies callers of one function. `keys`: the callers' public keys (JWKS text).

    Raises:
        ValueError: there is no ES256 key among them.
    """

    def __init__(self, *, function: str, keys: str, clock: Callable[[], float] = time.time) -> None:
        self._function = function
        self._clock = clock
        self._keys = statement_keys("INTERNAL_PUBLIC_KEYS", keys)

    def verify(self, authorization: Sequence[str]) -> Caller:
        """The caller that a request's `Authorization` names.

        Raises:
            Unauthorized: it is missing, repeated, not valid, or meant for another function.
            TokenTooLarge: it is over the limit.
        """
        with naming("token"):
            token = only(BEARER, authorization, group=1)
            return self._caller(statement_of(token, _TYPE, self._keys, self._clock()))

    def _caller(self, claims: Mapping[str, Any]) -> Caller:
        if claims.get("aud") != self._function:
            raise Unauthorized("for_another_function")
        if claims.get("role") != "authenticated":
            raise Unauthorized("invalid_role")
        run_id = default_of(claims.get("run_id"), None)
        return Caller(
            text_of(claims.get("iss"), "iss"),
            principal_of(claims),
            None if run_id is None else uuid_of(run_id, "run_id"),
        )
