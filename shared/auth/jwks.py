"""A project's public keys, fetched as rarely as is safe."""

import asyncio
import json
import logging
import math
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

MAX_AGE = 600
COOLDOWN = 30
# Access tokens live an hour, so no valid one is signed with keys older than this.
MAX_STALE = 3600
TIMEOUT_SECONDS = 5
PRIVATE_FIELDS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})

log = logging.getLogger(__name__)
K = TypeVar("K")


class RemoteKeys(Generic[K]):
    """Keys from a URL, by algorithm and key id.

    Unknown key ids and failures cause at most one fetch per cooldown. While the URL fails, the last keys stay valid for
    an hour.
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
            # All callers wait for the same fetch, which ends with its time-out.
            self._pending = asyncio.ensure_future(self._load())
        # A cancelled caller must not cancel the fetch for the others.
        await asyncio.shield(self._pending)

    async def _load(self) -> None:
        try:
            self._keys = self._parse(await _read(self._url))
            self._fetched_at = self._clock()
        except Exception as error:
            # After any error, there are no new keys for one cooldown.
            log.warning("jwks.unavailable", extra={"error": type(error).__name__})
        finally:
            self._tried_at = self._clock()
            self._pending = None

    def _is_within(self, since: float, limit: float) -> bool:
        # A clock that is set back must not prolong a wait.
        return 0 <= self._clock() - since < limit


async def fetch_public_keys(url: str) -> list[tuple[str, str]]:
    """The algorithm and id of each usable key at this address.

    Raises:
        aiohttp.ClientError, OSError, TimeoutError, ValueError: there is no JWKS.
    """
    return [*public_keys(await _read(url))]


async def _read(url: str) -> str:
    # Most functions have their keys inline and never need an HTTP client.
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
    """The public signing keys of a JWKS, by algorithm and id; other keys are left out.

    Raises:
        ValueError: the text is not a JWKS.
    """
    match json.loads(text):
        case {"keys": [*jwks]}:
            pairs = [(_name(jwk), jwk) for jwk in jwks if isinstance(jwk, dict)]
            # Of two keys with one name, the first counts.
            return {name: jwk for name, jwk in reversed(pairs) if name is not None}
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
