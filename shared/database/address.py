"""Reads SUPABASE_DATABASE_URL: an address of Postgres, as people copy it from Supabase and from other tools."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NotRequired, TypedDict
from urllib.parse import parse_qsl, quote, unquote, urlencode

from shared.core import InvalidSettings
from shared.database.parameters import CONNECT_SECONDS, PARAMETERS, PREPARES
from shared.database.tls import check_tls

#: Postgres also in the words of SQLAlchemy (postgresql+asyncpg) and JDBC (jdbc:postgresql).
_SCHEME: Final = re.compile(r"(?:jdbc:)?postgres(?:ql)?(?:\+\w+)?", re.IGNORECASE | re.ASCII)
_URL: Final = re.compile(
    r"(?P<scheme>[a-z][\w+.:-]*?)://(?P<authority>[^/?#]*)(?P<path>/[^?#@]*)?(?:\?(?P<query>[^#]*))?",
    re.IGNORECASE | re.ASCII,
)
_HOST: Final = re.compile(
    r"(?:\[(?P<ipv6>[0-9a-f:.]+(?:%\w+)?)\]|(?P<name>[^\s:\[\]]*))(?::(?P<port>[0-9]*))?",
    re.IGNORECASE,
)
#: As the dashboard of Supabase and the docs show an address.
_PLACEHOLDER: Final = re.compile(r"\[[\w -]*PASSWORD\]|<[\w -]*password>", re.IGNORECASE)
_NAME: Final = re.compile(r"\w{1,40}", re.ASCII)
_DEFAULT_PORT: Final = 5432
_TRANSACTION_POOLER_PORT: Final = 6543


class Place(TypedDict):
    """asyncpg's options that say where Postgres is. Without hosts, its defaults apply."""

    dsn: str
    host: NotRequired[list[str]]
    port: NotRequired[list[int]]


@dataclass(frozen=True, slots=True)
class Address:
    """Where Postgres is, and how to connect.

    `prepares`: whether statements may be prepared; a transaction pooler may send each to another server.
    `connect_seconds`: the address's own limit of connecting. `ignored`: its parameters that change nothing here.
    """

    place: Place = field(repr=False)
    prepares: bool
    connect_seconds: float | None
    ignored: Sequence[str]


def read_address(url: str) -> Address:
    """The address that SUPABASE_DATABASE_URL gives.

    Raises:
        InvalidSettings: it is no URL of Postgres, or a parameter is unknown or cannot be honoured. The sentence shows
            no value.
    """
    parts = _parts_of(url)
    login, _, listed = parts["authority"].rpartition("@")
    user, _, password = login.partition(":")
    given, ignored = _parameters(parts["query"])
    own = {"user": user, "password": password, "dbname": parts["path"][1:]}
    # What is written before the `?` wins, as with libpq.
    given |= {name: unquote(value) for name, value in own.items() if value}
    host, port = given.pop("host", ""), given.pop("port", "")
    hosts = _hosts(unquote(listed) or host, port)
    if "user" not in given and "service" not in given:
        raise _invalid("names no user: postgresql://<user>:<password>@<host>/<database>.")
    is_pooler = _TRANSACTION_POOLER_PORT in (port for _, port in hosts)
    prepares = given.pop(PREPARES, "yes") == "yes" and not is_pooler
    seconds = float(given.pop(CONNECT_SECONDS, 0))
    check_tls(given)
    place: Place = {"dsn": f"postgresql://?{urlencode(given, quote_via=quote)}"}
    if hosts:
        place["host"] = [host for host, _ in hosts]
        place["port"] = [port for _, port in hosts]
    return Address(place, prepares, seconds if seconds > 0 else None, ignored)


def _parts_of(url: str) -> dict[str, str]:
    url = url.strip()
    if url[:1] in ("'", '"') and url[-1:] == url[:1]:
        # Not every reader of .env files removes quotes.
        url = url[1:-1]
    if _PLACEHOLDER.search(url):
        raise _invalid("still has a placeholder instead of the password.")
    if "://" not in url:
        raise _without_scheme()
    match = _URL.fullmatch(url)
    if match is None or "\0" in unquote(url):
        raise _not_a_url()
    if not _SCHEME.fullmatch(match["scheme"]):
        raise _without_scheme()
    return {name: value or "" for name, value in match.groupdict().items()}


def _without_scheme() -> InvalidSettings:
    return _invalid("must begin with postgresql://.")


def _parameters(query: str) -> tuple[dict[str, str], list[str]]:
    """The parameters by asyncpg's names, and the names of those that change nothing."""
    given: dict[str, str] = {}
    ignored: list[str] = []
    for name, value in parse_qsl(query):
        rule = PARAMETERS.get(name.lower())
        if rule is None:
            # The rest of a password with a `?` must not be shown.
            raise _unknown(name) if _NAME.fullmatch(name) and "@" not in query else _not_a_url()
        try:
            read = rule.read(value)
        except ValueError as error:
            raise _invalid(
                f"has a parameter that cannot be honoured: {name} must be {error}."
            ) from None
        if rule.target is None:
            ignored.append(name)
        elif rule.target != PREPARES or read == "no":
            # Of several parameters about prepared statements, one that turns them off is enough.
            given[rule.target] = read
    return given, ignored


def _hosts(listed: str, ports: str) -> list[tuple[str, int]]:
    """The hosts with their ports. `ports`: one for each of them, or one for all, where a host has none of its own."""
    hosts = listed.split(",") if listed else []
    defaults = ports.split(",") if ports else [str(_DEFAULT_PORT)]
    if not hosts and ports:
        hosts = ["localhost"]
    if len(defaults) == 1:
        defaults *= len(hosts)
    if len(defaults) != len(hosts):
        raise _invalid("must have as many ports as hosts.")
    return [_host(host, port) for host, port in zip(hosts, defaults, strict=True)]


def _host(text: str, default: str) -> tuple[str, int]:
    if text.startswith("/"):
        # The folder of a socket; its name may contain colons.
        return text, _port(default)
    match = _HOST.fullmatch(text)
    if match is None:
        raise _not_a_url()
    return match["ipv6"] or match["name"] or "localhost", _port(match["port"] or default)


def _port(text: str) -> int:
    if len(text) > 5 or not 0 < int(text) < 65_536:
        raise _not_a_url()
    return int(text)


def _unknown(name: str) -> InvalidSettings:
    return _invalid(f"has the unknown parameter {name}: remove it.")


def _not_a_url() -> InvalidSettings:
    # Without the text, of which any piece may belong to the password.
    return _invalid("is not a URL: encode special characters of its password (%2F for /).")


def _invalid(reason: str) -> InvalidSettings:
    return InvalidSettings(f"SUPABASE_DATABASE_URL {reason}")
