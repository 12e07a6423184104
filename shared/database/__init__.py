"""The two ways to use Postgres: call a function of schema `agent`, or open a session that acts as a user.

And how its address is read, and what an examination reads from it.
"""

from shared.database.address import read_address
from shared.database.pool import Database, Refused
from shared.database.probe import Facts, read_facts, shares_servers
from shared.database.refusals import refusal_of, why_unreachable
from shared.database.rejections import WriteRejected, naming_rejections
from shared.database.user_session import UserSession

__all__ = [
    "Database",
    "Facts",
    "Refused",
    "UserSession",
    "WriteRejected",
    "naming_rejections",
    "read_address",
    "read_facts",
    "refusal_of",
    "shares_servers",
    "why_unreachable",
]
