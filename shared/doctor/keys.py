"""Checks of the keys: those that verify callers, and the one that signs requests to other functions."""

from collections.abc import Iterator
from functools import partial

from shared.auth import fetch_public_keys
from shared.core import Settings
from shared.doctor.checks import Check, Failed
from shared.doctor.offline import USERS, parse_settings


def key_checks(settings: Settings) -> Iterator[Check]:
    """The keys that these settings have or need."""
    yield Check(name="gateway's keys", run=partial(_read_gateway_keys, settings))
    yield Check(name="users' keys", run=partial(_read_user_keys, settings))
    if settings.tools_url or settings.internal_signing_key:
        yield Check(name="signing key", run=partial(_read_signing_key, settings))


async def _read_gateway_keys(settings: Settings) -> str:
    settings.require("supabase_url", "gateway_public_keys")
    parse_settings(settings, *USERS)
    return ""


async def _read_user_keys(settings: Settings) -> str:
    """The project's keys: inline ones were read with the gateway's."""
    if settings.supabase_jwks:
        return "from SUPABASE_JWKS"
    settings.require("supabase_url")
    try:
        keys = await fetch_public_keys(
            f"{settings.supabase_url.rstrip('/')}/auth/v1/.well-known/jwks.json"
        )
    except TimeoutError:
        raise
    except Exception as error:
        # Whatever the HTTP client raises, the remedy is the same.
        raise Failed(
            f"the project's keys cannot be fetched ({type(error).__name__}): check SUPABASE_URL and this network's way"
            " out, or set SUPABASE_JWKS."
        ) from None
    if not keys and not settings.legacy_jwt_secret:
        raise Failed(
            "the project has no asymmetric key: create one in its dashboard, or set LEGACY_JWT_SECRET."
        )
    return f"{len(keys)} fetched from the project"


async def _read_signing_key(settings: Settings) -> str:
    settings.require("internal_signing_key")
    parse_settings(settings, "INTERNAL_SIGNING_KEY")
    return ""
