"""Why Postgres, or the pooler before it, refuses a connection, in one sentence that names the setting."""

from typing import Final

from shared.core import InvalidSettings

#: By SQLSTATE. Errors with another one may pass, or are bugs.
_REASONS: Final = {
    "28P01": "the password is wrong, or there is no such user",
    "28000": "this user may not log in from here, or not without TLS (sslmode=require)",
    "3D000": "there is no database of this name",
    "42501": "this user may not connect to this database",
    "42704": "one of its parameters is unknown to the server",
    "22023": "one of its parameters has a value that the server does not accept",
    # Supavisor: "Tenant or user not found".
    "XX000": "the pooler does not know this user: at a shared pooler it is <user>.<project ref>",
}


def refusal_of(state: str | None, message: str) -> InvalidSettings | None:
    """The sentence for an error of connecting; None if the next attempt may succeed without a change.

    `state`: its SQLSTATE, or None if the driver refuses the address. It does not quote the message, which may have
    parts of the address.
    """
    if state is None:
        return _refused("the driver cannot use its parameters")
    if state == "08P01" and "startup parameter" in message:
        return _refused("the pooler does not accept one of its parameters")
    return _refused(_REASONS[state]) if state in _REASONS else None


def _refused(reason: str) -> InvalidSettings:
    return InvalidSettings(f"SUPABASE_DATABASE_URL is refused: {reason}.")
