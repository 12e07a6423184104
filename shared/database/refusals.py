"""Why Postgres cannot be reached, or refuses a connection, in one sentence that names the setting."""

import ssl
from socket import gaierror
from typing import Final

from shared.core import InvalidSettings

#: By SQLSTATE. Errors with another one may pass, or are bugs.
_REASONS: Final = {
    "28P01": "the password is wrong, or there is no such user, or it has no password yet",
    "28000": "there is no such user, or it may not log in from here, or not without TLS (sslmode=require)",
    "3D000": "there is no database of this name",
    "42501": "this user may not connect to this database",
    "42704": "one of its parameters is unknown to the server",
    "22023": "one of its parameters has a value that the server does not accept",
    # Supavisor: "Tenant or user not found".
    "XX000": "the pooler does not know this user: at a shared pooler it is <user>.<project ref>",
}
#: Which of 28000's reasons it is, by Postgres's message; in another language it is all of them.
_LOGINS: Final = {
    "does not exist": "there is no such user",
    "not permitted to log in": "this user may not log in: `alter role … login password '…'` permits it",
    "no encryption": "this user may not log in from here without TLS: set sslmode=require",
}
_PORTS: Final = "Postgres has 5432, a transaction pooler 6543, that of `supabase start` 54322"
_CLOSED: Final = (
    "the server at the host and port of SUPABASE_DATABASE_URL closed the connection: it is starting or stopping, or is"
    f" not Postgres ({_PORTS})"
)
#: Why Postgres cannot be reached, by the driver's error.
_CAUSES: Final = (
    (gaierror, "the host of SUPABASE_DATABASE_URL has no address here: check its name"),
    (ssl.SSLError, "TLS fails: check sslmode and sslrootcert in SUPABASE_DATABASE_URL"),
    (ConnectionRefusedError, "nothing listens at the host and port of SUPABASE_DATABASE_URL"),
    (
        TimeoutError,
        "the host of SUPABASE_DATABASE_URL does not answer as Postgres: check its port and the firewall; a direct"
        " address of Supabase is IPv6 only, and a pooler has IPv4",
    ),
    (ConnectionError, _CLOSED),
)
#: The same by SQLSTATE.
_STATES: Final = {
    "08003": _CLOSED,
    "53300": "Postgres has no free connection: lower DATABASE_CONNECTIONS or max-scale, or use a pooler",
    "57P03": "Postgres is starting or stopping: try again",
}


def why_unreachable(error: BaseException | None) -> str:
    """Why a connection could not be opened, without a capital and a full stop. It quotes no part of the address."""
    if state := _STATES.get(str(getattr(error, "sqlstate", ""))):
        return state
    if "rejected SSL upgrade" in str(error):
        # Without sslmode, a Postgres that has no TLS is used without it.
        return (
            "the server at the host and port of SUPABASE_DATABASE_URL does not offer TLS as Postgres does: check its"
            f" port ({_PORTS}), or set sslmode=disable if it is a Postgres without TLS"
        )
    known = (reason for kind, reason in _CAUSES if isinstance(error, kind))
    return next(known, f"Postgres cannot be reached ({type(error).__name__})")


def refusal_of(state: str | None, message: str) -> InvalidSettings | None:
    """The sentence for an error of connecting; None if the next attempt may succeed without a change.

    `state`: its SQLSTATE, or None if the driver refuses the address. It does not quote the message, which may have
    parts of the address.
    """
    if state is None:
        return _refused("the driver cannot use its parameters")
    if state == "08P01" and "startup parameter" in message:
        return _refused("the pooler does not accept one of its parameters")
    if state == "28000":
        return _refused(
            next((why for part, why in _LOGINS.items() if part in message), _REASONS[state])
        )
    return _refused(_REASONS[state]) if state in _REASONS else None


def _refused(reason: str) -> InvalidSettings:
    return InvalidSettings(f"SUPABASE_DATABASE_URL is refused: {reason}.")
