"""The stack's database: a Postgres of its own, or the one that SUPABASE_DATABASE_URL names; and its migrations."""

from local.database.binaries import find_binaries
from local.database.connecting import Connection, connect
from local.database.given import given_logins, is_loopback
from local.database.migrations import migrate, outdated
from local.database.own import Logins, live_runs, start

__all__ = [
    "Connection",
    "Logins",
    "connect",
    "find_binaries",
    "given_logins",
    "is_loopback",
    "live_runs",
    "migrate",
    "outdated",
    "start",
]
