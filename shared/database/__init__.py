"""Postgres behind two doors: a function of schema `agent`, or a session that acts as a user."""

from shared.database.pool import Database, Refused

__all__ = [
    "Database",
    "Refused",
]
