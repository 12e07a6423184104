"""What is wrong with a function's settings, as far as that shows without a network, by the code of its start."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from shared.auth import (
    CallerVerifier,
    Minter,
    inline_keys,
    private_key,
    secret_key,
    statement_keys,
)
from shared.core import InvalidSettings, Settings
from shared.database import read_address
from shared.mcp import servers_of
from shared.models import provider_of

_DATABASE: Final = "SUPABASE_DATABASE_URL"
_SIGNING_KEY: Final = "INTERNAL_SIGNING_KEY"
_CALLERS: Final = "INTERNAL_PUBLIC_KEYS"
#: The kinds of functions that call `tools`.
_CALLS_TOOLS: Final = ("agent", "runner")
_SERVES_USERS: Final = (_DATABASE, "SUPABASE_URL", "GATEWAY_PUBLIC_KEYS")
#: The variables without which a function of each kind does not start; a test compares.
REQUIRED: Final[Mapping[str, tuple[str, ...]]] = {
    "agent": _SERVES_USERS,
    "runner": (_DATABASE,),
    "threads": _SERVES_USERS,
    "tools": (_DATABASE, "INTERNAL_PUBLIC_KEYS"),
}
#: The variables that verify a user.
USERS: Final = ("GATEWAY_PUBLIC_KEYS", "SUPABASE_JWKS", "LEGACY_JWT_SECRET")
_EXECUTES_RUNS: Final = (_SIGNING_KEY, "MCP_SERVERS", "OPENAI_BASE_URL", "OPENAI_API_KEY")
#: The variables whose texts a function of each kind parses.
_PARSED: Final[Mapping[str, tuple[str, ...]]] = {
    "agent": (_DATABASE, *USERS, *_EXECUTES_RUNS),
    "runner": (_DATABASE, *_EXECUTES_RUNS),
    "threads": (_DATABASE, *USERS),
    "tools": (_DATABASE, "INTERNAL_PUBLIC_KEYS", _SIGNING_KEY),
}
_PARSERS: Final[Mapping[str, Callable[[Settings], object]]] = {
    _DATABASE: lambda s: read_address(s.supabase_database_url),
    "GATEWAY_PUBLIC_KEYS": lambda s: statement_keys("GATEWAY_PUBLIC_KEYS", s.gateway_public_keys),
    "SUPABASE_JWKS": lambda s: inline_keys("SUPABASE_JWKS", s.supabase_jwks),
    "LEGACY_JWT_SECRET": lambda s: secret_key(s.legacy_jwt_secret),
    "INTERNAL_PUBLIC_KEYS": lambda s: CallerVerifier(function="", keys=s.internal_public_keys),
    _SIGNING_KEY: lambda s: Minter("", s.internal_signing_key),
    "MCP_SERVERS": servers_of,
    "OPENAI_BASE_URL": lambda s: provider_of(replace(s, openai_api_key="")),
    "OPENAI_API_KEY": lambda s: provider_of(replace(s, openai_base_url="")),
}


@dataclass(frozen=True, slots=True)
class WrongSetting:
    """A variable, and a sentence that says what is wrong with it. The sentence shows no value."""

    name: str
    sentence: str


def wrong_settings(
    kind: str, environ: Mapping[str, str], unknown: Collection[str] = ()
) -> list[WrongSetting]:
    """All that would stop a function of this kind from starting, or its runs from reaching a model.

    `unknown`: variables that the function gets, and whose values are not known here.
    """
    settings, faults = Settings.examine(environ)
    for name in _missing(kind, settings, {*faults, *unknown}):
        faults[name] = f"Set {name}; docs/configuration.md says to what."
    for name in _PARSED.get(kind, (_DATABASE,)):
        if name not in faults and getattr(settings, name.lower()):
            faults |= _fault_of(settings, name, unknown)
    if kind in _CALLS_TOOLS and not faults.keys() & {_SIGNING_KEY, _CALLERS}:
        faults |= _stranger(settings)
    return [WrongSetting(name, sentence) for name, sentence in faults.items()]


def parse_settings(settings: Settings, *names: str) -> None:
    """Parse the texts of these variables, where they are set.

    Raises:
        InvalidSettings: one of them cannot be used.
    """
    for name in names:
        if getattr(settings, name.lower()):
            try:
                _PARSERS[name](settings)
            except ValueError as error:
                raise InvalidSettings(f"{error}.") from None


def _missing(kind: str, settings: Settings, present: Collection[str]) -> Iterator[str]:
    signs = bool(settings.tools_url) and _SIGNING_KEY in _PARSED.get(kind, ()) and kind != "tools"
    for name in (*REQUIRED.get(kind, (_DATABASE,)), *((_SIGNING_KEY,) if signs else ())):
        if name not in present and not getattr(settings, name.lower()):
            yield name


def _stranger(settings: Settings) -> dict[str, str]:
    """What is wrong if `tools` would not know this function by its key; nothing if one of the settings is not here."""
    if not (settings.internal_signing_key and settings.internal_public_keys):
        return {}
    _, own = private_key(_SIGNING_KEY, settings.internal_signing_key)
    known = inline_keys(_CALLERS, settings.internal_public_keys)
    # `tools` itself names a value without keys.
    if not known or own in {kid for _, kid in known}:
        return {}
    return {_CALLERS: f"{_CALLERS} lacks the public half of {_SIGNING_KEY}, kid {own}."}


def _fault_of(settings: Settings, name: str, unknown: Collection[str]) -> dict[str, str]:
    try:
        parse_settings(settings, name)
    except InvalidSettings as error:
        # Where another variable is missing, its value may be one that is not known here.
        return {} if any(each in str(error) for each in unknown) else {name: str(error)}
    return {}
