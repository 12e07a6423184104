"""The two ways to Postgres: call a function of schema `agent`, or open a session that acts as a user."""

from shared.database.pool import Database, Refused

__all__ = [
    "Database",
    "Refused",
]
