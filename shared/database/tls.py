"""Checks the parameters for TLS of an address: asyncpg reports wrong ones like a Postgres that is away."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from ssl import PROTOCOL_TLS_CLIENT, SSLContext, get_default_verify_paths

from shared.core import InvalidSettings

_STRICT = ("require", "verify-ca", "verify-full")


def check_tls(given: dict[str, str]) -> None:
    """Check that the files can be read and that the mode can be met, and resolve `sslrootcert=system`.

    Raises:
        InvalidSettings: naming the parameter that cannot be used.
    """
    if given.get("sslrootcert") == "system":
        given["sslrootcert"] = get_default_verify_paths().cafile or "system"
        given["sslmode"] = "verify-full"
    mode = given.get("sslmode", "prefer")
    if mode.startswith("verify-") and "sslrootcert" not in given and not _has_default_root():
        raise _invalid(f"sslmode={mode} needs sslrootcert: a file of certificates, or `system`")
    if given.get("sslnegotiation") == "direct" and mode not in _STRICT:
        raise _invalid("sslnegotiation=direct needs sslmode=require or stricter")
    if given.keys() & {"sslrootcert", "sslcrl", "sslcert"}:
        _check_files(given)


def _check_files(given: Mapping[str, str]) -> None:
    context = SSLContext(PROTOCOL_TLS_CLIENT)
    for name in ("sslrootcert", "sslcrl"):
        if path := given.get(name):
            with _naming(name):
                context.load_verify_locations(path)
    if path := given.get("sslcert"):
        with _naming("sslcert, sslkey or sslpassword"):
            context.load_cert_chain(path, given.get("sslkey"), given.get("sslpassword", ""))


def _has_default_root() -> bool:
    try:
        return (Path.home() / ".postgresql" / "root.crt").is_file()
    except RuntimeError:
        return False


@contextmanager
def _naming(parameter: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError):
        raise _invalid(f"the file of {parameter} cannot be read") from None


def _invalid(reason: str) -> InvalidSettings:
    return InvalidSettings(f"SUPABASE_DATABASE_URL cannot be used: {reason}.")
