"""Whose tokens the stack accepts: those of its test users, and those of a Supabase project on this machine."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, build_opener

from local import CannotStart
from local.accounts import SUPABASE_URL
from local.database import is_loopback
from local.keys import Keys
from shared.core import Json

_SECONDS = 3.0
_JWKS_PATH = "/auth/v1/.well-known/jwks.json"


@dataclass(frozen=True)
class Project:
    """`url`: users' tokens are issued by `<url>/auth/v1`. `public_keys` is the text of a JWKS."""

    url: str
    public_keys: str

    @property
    def settings(self) -> dict[str, str]:
        """As the gateway and the functions read it."""
        return {"SUPABASE_URL": self.url, "SUPABASE_JWKS": self.public_keys}


def project_url(environ: Mapping[str, str]) -> str:
    """SUPABASE_URL if it is on this machine; otherwise the address that `supabase start` has by default."""
    url = environ.get("SUPABASE_URL", "").strip().rstrip("/")
    return url if _is_local(url) else SUPABASE_URL


def read_project(environ: Mapping[str, str], keys: Keys, say: Callable[[str], None]) -> Project:
    """The project of the environment, with the test users' keys beside its own.

    A project on another machine is never used: its users' tokens would be valid in an address with test users.

    Raises:
        CannotStart: SUPABASE_JWKS is not a JWKS.
    """
    ours = json.loads(keys.user.public_keys)["keys"]
    theirs = _keys_of_project(environ, say)
    return Project(project_url(environ), json.dumps({"keys": [*ours, *theirs]}))


def _keys_of_project(environ: Mapping[str, str], say: Callable[[str], None]) -> list[Json]:
    url = environ.get("SUPABASE_URL", "").strip().rstrip("/")
    if url and not _is_local(url):
        say(f"  users      of this stack only: SUPABASE_URL={url} is not on this machine")
        return []
    if text := environ.get("SUPABASE_JWKS", "").strip():
        return _read_keys(text)
    if not url:
        return []
    found = _fetched(url)
    if found:
        say(f"  users      also those of {url}")
    elif not environ.get("LEGACY_JWT_SECRET"):
        say(
            f"  users      of this stack only: {url}{_JWKS_PATH} has no keys; start that project first, or set"
            " LEGACY_JWT_SECRET to its JWT secret"
        )
    return found


def _fetched(url: str) -> list[Json]:
    try:
        # Requests to this machine never go through a proxy.
        with build_opener(ProxyHandler({})).open(url + _JWKS_PATH, timeout=_SECONDS) as response:
            return _read_keys(response.read().decode())
    except (OSError, HTTPException, ValueError, CannotStart):
        return []


def _read_keys(text: str) -> list[Json]:
    try:
        keys = json.loads(text)["keys"]
    except (ValueError, TypeError, KeyError):
        keys = None
    if not isinstance(keys, list):
        raise CannotStart("SUPABASE_JWKS is not a JWKS.")
    return keys


def _is_local(url: str) -> bool:
    try:
        return is_loopback(urlsplit(url).hostname or "none")
    except ValueError:
        return False
