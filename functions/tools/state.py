"""A tool's state while its user answers: the client stores it, signed, so that any process can continue the call."""

import time
from collections.abc import Callable
from hashlib import sha256
from typing import Any

from shared.auth import (
    PrivateKey,
    check_times,
    claims_of,
    header_of,
    private_key,
    signed,
    text_of,
)
from shared.core import Json, Settings, Unauthorized, canonical

_TYPE = "state+jwt"
_HOUR = 3600


class States:
    """Signs states with this function's own key (INTERNAL_SIGNING_KEY). They are valid as long as an approval.

    Raises:
        ValueError: the key is set, and is no private ES256 key with a kid.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        text = settings.internal_signing_key
        self._key: PrivateKey | None = None
        self._kid = ""
        if text:
            self._key, self._kid = private_key("INTERNAL_SIGNING_KEY", text)
        self._seconds = int(settings.approval_hours * _HOUR)
        self._clock = clock

    @property
    def can_sign(self) -> bool:
        return self._key is not None

    def seal(self, state: Json, user: str, tool: str, arguments: Json) -> str:
        """The state of this user's call, for its client to send back."""
        if self._key is None:
            raise ValueError("INTERNAL_SIGNING_KEY is not set")
        now = int(self._clock())
        claims = {**_call(user, tool, arguments), "iat": now, "exp": now + self._seconds}
        return signed({**claims, "state": state}, self._key, {"typ": _TYPE, "kid": self._kid})

    def open(self, sealed: Any, user: str, tool: str, arguments: Json) -> Json:
        """The state that was sealed for this user's call.

        Raises:
            Unauthorized: it was sealed for another call, or it has expired.
        """
        sealed = text_of(sealed, "state")
        if header_of(sealed).get("typ") != _TYPE:
            raise Unauthorized("invalid_typ")
        claims = claims_of(sealed, self._key.public if self._key else None)
        check_times(claims, self._clock())
        call, state = _call(user, tool, arguments), claims.get("state")
        if {name: claims.get(name) for name in call} != call or not isinstance(state, dict):
            raise Unauthorized("of_another_call")
        return state


def _call(user: str, tool: str, arguments: Json) -> dict[str, str]:
    """The claims that bind a state to its call: another call cannot use it."""
    return {"sub": user, "tool": tool, "arguments": sha256(canonical(arguments)).hexdigest()}
