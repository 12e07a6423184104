"""A project's public keys, fetched as rarely as security allows."""

import asyncio
import json
import logging
import math
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

MAX_AGE = 600
COOLDOWN = 30
# Access tokens live an hour: nobody holds a valid one signed with keys older than this.
MAX_STALE = 3600
TIMEOUT_SECONDS = 5
PRIVATE_FIELDS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})

log = logging.getLogger(__name__)
K = TypeVar("K")


class RemoteKeys(Generic[K]):
    """Keys from an address, by algorithm and key id.

    Unknown key ids and failures cost at most one fetch per cooldown; while the address fails, the
    last keys stay good for an hour.
    """

    def __init__(
        self,
        url: str,
        parse: Callable[[str], Mapping[tuple[str, str], K]],
        *,
        clock: Callable[[], float],
    ) -> None:
        self._url = url
        self._parse = parse
        self._clock = clock
        self._keys: Mapping[tuple[str, str], K] = {}
        self._fetched_at = -math.inf
        self._tried_at = -math.inf
        self._pending: asyncio.Task[None] | None = None

    async def find(self, name: tuple[str, str]) -> K | None:
        """The key of this algorithm and id, or None."""
        if not self._is_within(self._fetched_at, MAX_AGE):
            await self._refresh()
        if name not in self._keys:
            await self._refresh()
        return self._keys.get(name) if self._is_within(self._fetched_at, MAX_STALE) else None

    async def _refresh(self) -> None:
        if self._pending is None:
            if self._is_within(self._tried_at, COOLDOWN):
                return
            # It belongs to all who wait for it, and ends with its time-out.
            self._pending = asyncio.ensure_future(self._load())
        # Callers that hang up must not be able to stop the fetch everyone waits for.
        await asyncio.shield(self._pending)

    async def _load(self) -> None:
        try:
            self._keys = self._parse(await _read(self._url))
            self._fetched_at = self._clock()
        except Exception as error:
            # Whatever went wrong, the answer is the same: no new keys for one cooldown.
            log.warning("jwks.unavailable", extra={"error": type(error).__name__})
        finally:
            self._tried_at = self._clock()
            self._pending = None

    def _is_within(self, since: float, limit: float) -> bool:
        # A clock that was set back must not stretch a wait.
        return 0 <= self._clock() - since < limit


async def _read(url: str) -> str:
    # Most functions are given their keys inline and never need a client.
    import aiohttp

    timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
    async with (
        aiohttp.ClientSession(timeout=timeout, raise_for_status=True) as session,
        session.get(url, allow_redirects=False) as response,
    ):
        if response.status != 200:
            raise ValueError(f"the keys were answered with {response.status}")
        return await response.text(encoding="utf-8")


def public_keys(text: str) -> dict[tuple[str, str], dict[str, Any]]:
    """Read a JWKS: the public signing keys in it by algorithm and id, and none of the others.

    Raises:
        ValueError: the text is not a JWKS.
    """
    match json.loads(text):
        case {"keys": [*jwks]}:
            named = [(_name(jwk), jwk) for jwk in jwks if isinstance(jwk, dict)]
            # The first of two keys of one name counts.
            return {name: jwk for name, jwk in reversed(named) if name is not None}
        case _:
            raise ValueError("a JWKS has a list of keys")


def _name(jwk: dict[str, Any]) -> tuple[str, str] | None:
    if jwk.keys() & PRIVATE_FIELDS or jwk.get("use", "sig") != "sig":
        return None
    match jwk:
        case {"kty": "EC", "crv": "P-256", "kid": str(kid)}:
            alg = "ES256"
        case {"kty": "RSA", "kid": str(kid)}:
            alg = "RS256"
        case _:
            return None
    return (alg, kid) if jwk.get("alg", alg) == alg else None
