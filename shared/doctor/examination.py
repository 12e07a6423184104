"""All checks of a function's settings."""

from collections.abc import Callable
from itertools import chain

from shared.core import Settings
from shared.doctor.checks import run_checks
from shared.doctor.keys import key_checks
from shared.doctor.model import model_checks
from shared.doctor.postgres import DatabaseChecks
from shared.doctor.servers import server_checks


async def examine(settings: Settings, write: Callable[[str], object]) -> bool:
    """Try the database, the keys, the model and the MCP servers of these settings. Returns whether all work.

    `write` gets the name of each check before it starts, and then its outcome, in one line that shows no secret.
    """
    database = DatabaseChecks(settings)
    try:
        return await run_checks(
            chain(
                database.checks(),
                key_checks(settings),
                model_checks(settings),
                server_checks(settings),
            ),
            write,
        )
    finally:
        await database.close()
