"""One process of a function: the parts that every function has, whatever it does."""

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from shared.auth import Verifier
from shared.core import Grace, InvalidSettings, Once, Settings
from shared.database import Database


async def _nothing() -> None:
    return None


@dataclass(slots=True)
class Process:
    """The parts of one process. The app's lifespan makes it, and passes its parts to routes and services."""

    name: str
    settings: Settings
    grace: Grace
    database: Database
    #: Verifies users, where the function serves any.
    verifier: Verifier | None = None
    #: Loads what being ready does not wait for, in this order, once the server listens.
    after_ready: list[Callable[[], Awaitable[object]]] = field(default_factory=list)
    _finishing: Once[None] = field(default_factory=lambda: Once(_nothing))

    def finish_with(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Set what finishes the work this process holds, within its grace."""
        self._finishing = Once(work)

    async def finish(self) -> None:
        """Start nothing more, and finish the work in progress, while the process still listens. Repeated calls wait."""
        self.grace.start()
        await self._finishing()


def users_verifier(name: str, settings: Settings) -> Verifier:
    """Verifies both proofs of a request: the user's token, and the gateway's assertion for this function.

    Raises:
        InvalidSettings: a key or the secret cannot be used.
    """
    issuer = f"{settings.supabase_url.rstrip('/')}/auth/v1"
    try:
        return Verifier(
            function=name,
            issuer=issuer,
            gateway_keys=settings.gateway_public_keys,
            jwks=settings.supabase_jwks or None,
            jwks_url=f"{issuer}/.well-known/jwks.json",
            legacy_secret=settings.legacy_jwt_secret or None,
        )
    except ValueError as error:
        raise InvalidSettings(f"{error}.") from None
