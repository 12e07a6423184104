"""Whether a database has what the migrations use of a Supabase project."""

from pathlib import Path

from local import CannotStart
from local.database.connecting import Connection

_MISSING = Path(__file__).with_suffix(".sql")


async def check_is_project(connection: Connection) -> None:
    """Check for Supabase's roles, and for `auth`'s tables and functions.

    Raises:
        CannotStart: some are missing; the message names them.
    """
    missing = [row["missing"] for row in await connection.fetch(_MISSING.read_text())]
    if missing:
        raise CannotStart(
            f"This database is not a Supabase project's ({', '.join(missing)} missing): use that of `supabase start` or"
            " of a hosted project. Without SUPABASE_DATABASE_URL, `make dev` starts a Postgres of its own."
        )
